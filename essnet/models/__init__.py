"""Encoder-decoders of segmentation-models-pytorch with an output layer that belongs to the objective."""

from essnet.models.factory import build_model
from essnet.models.output_layers import EmbeddingOutput, FullSoftmaxOutput, OutputLayer
from essnet.models.segmentation_model import SegmentationModel, build_segmentation_model

__all__ = [
    "EmbeddingOutput",
    "FullSoftmaxOutput",
    "OutputLayer",
    "SegmentationModel",
    "build_model",
    "build_segmentation_model",
]

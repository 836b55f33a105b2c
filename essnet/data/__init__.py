"""Data sets, joint augmentation, exact loading, and pictures of labels."""

from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.class_table import ClassTable, class_colours, read_class_table
from essnet.data.datasets import build_dataset, build_transform
from essnet.data.folder import FolderDataset
from essnet.data.image_files import read_image
from essnet.data.loading import (
    AugmentedDataset,
    BatchLoader,
    SegmentationDataset,
    eval_loader,
    train_loader,
)
from essnet.data.paired_files import PairedFilesDataset
from essnet.data.pictures import colour_overlay, prediction_sheet
from essnet.data.textures import TexturesDataset
from essnet.data.transforms import build_train_transform

__all__ = [
    "AugmentedDataset",
    "BatchLoader",
    "ClassTable",
    "FolderDataset",
    "PairedFilesDataset",
    "SegmentationDataset",
    "TexturesDataset",
    "TrainBatchSampler",
    "build_dataset",
    "build_train_transform",
    "build_transform",
    "class_colours",
    "colour_overlay",
    "eval_loader",
    "prediction_sheet",
    "read_class_table",
    "read_image",
    "train_loader",
]

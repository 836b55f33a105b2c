"""From configuration to a model: the only module here that knows the configuration's fields."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from essnet.config.model import BUILT_IN_OBJECTIVES
from essnet.models.extension import extension_output_layer
from essnet.models.output_layers import EmbeddingOutput, FullSoftmaxOutput, OutputLayer
from essnet.models.segmentation_model import SegmentationModel, build_segmentation_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from essnet.config import ModelConfig, ObjectiveConfig


def build_model(
    *, model: ModelConfig, objective: ObjectiveConfig, num_classes: int, pretrained: bool = True
) -> SegmentationModel:
    """Build the model of a trial.

    Parameters
    ----------
    model, objective
        The configuration's blocks of these names.
    num_classes
        C.
    pretrained
        False where a checkpoint's weights follow: no weights are read or downloaded.

    Raises
    ------
    InputError
        As `build_segmentation_model` and the output layers.
    """
    return build_segmentation_model(
        architecture=model.architecture,
        encoder=model.encoder,
        encoder_weights=model.encoder_weights,
        output_stride=model.output_stride,
        output_layer=_output_layer(objective, num_classes),
        separable_convolutions=model.separable_convolutions,
        batch_norm_momentum=model.batch_norm_momentum,
        freeze_encoder=model.freeze_encoder,
        pretrained=pretrained,
    )


def _output_layer(objective: ObjectiveConfig, num_classes: int) -> Callable[[int], OutputLayer]:
    if objective.name == "full_softmax":
        return partial(FullSoftmaxOutput, num_classes=num_classes)
    if objective.name not in BUILT_IN_OBJECTIVES:
        return partial(extension_output_layer, objective, num_classes=num_classes)
    return partial(
        EmbeddingOutput,
        num_classes=num_classes,
        embedding_dim=objective.embedding_dim,
        objective=objective.name,
        similarity=objective.similarity,
        logit_scale=objective.logit_scale,
        learn_logit_scale=objective.learn_logit_scale,
        renormalise=objective.renormalise,
        num_neighbours=objective.num_neighbours,
        num_random=objective.num_random,
        margin=objective.margin,
        margin_weight=objective.margin_weight,
        search=objective.search,
        search_backend=objective.search_backend,
    )

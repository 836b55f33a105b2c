"""An objective of another package: output layer and loss together.

What `objective.name` stands for is called with the decoder's number of channels and the number of classes:

    def build(*, in_channels: int, num_classes: int, ...) -> OutputLayer

What stands in `objective.options` comes as further keyword arguments; all other keys of the block are for the built-in
objectives. What it returns is a `torch.nn.Module` that is an `OutputLayer`. One that derives from `EmbeddingOutput` has
class embeddings, and with them `launch.py grow`, statistics and figures of embeddings; one that derives from
`FullSoftmaxOutput` has a logit for each class. Only these two can be evaluated by several views, and say how unsure
they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from essnet.config.errors import InputError
from essnet.config.extension_names import OBJECTIVES
from essnet.config.extensions import build, check_result
from essnet.models.output_layers import OutputLayer

if TYPE_CHECKING:
    from essnet.config import ObjectiveConfig

_KEY = "objective.name"
_MEMBERS = ("forward", "loss", "predict", "parameter_groups")
_GROUPS = ("decoder", "class_embeddings")


def extension_output_layer(objective: ObjectiveConfig, in_channels: int, *, num_classes: int) -> OutputLayer:
    """Build the output layer of another package's objective, and try it once.

    Raises
    ------
    InputError
        If it cannot be built, or is no output layer.
    """
    name = objective.name
    given = {"in_channels": in_channels, "num_classes": num_classes}
    layer = build(name, group=OBJECTIVES, key=_KEY, given=given, options=objective.options)
    if not isinstance(layer, nn.Module):
        raise InputError(f"{_KEY}: {name} returned {type(layer).__name__}; expected a torch.nn.Module")
    check_result(layer, name=name, key=_KEY, has=_MEMBERS, what="an output layer")
    assert isinstance(layer, OutputLayer)
    fault = _fault_of_parameters(layer) or _fault_of_outputs(layer, in_channels, num_classes)
    if fault is not None:
        raise InputError(f"{_KEY}: {name} returned {type(layer).__name__}, whose {fault}")
    return layer


def _fault_of_parameters(layer: Any) -> str | None:
    groups: dict[str, list[nn.Parameter]] = layer.parameter_groups()
    unknown = set(groups) - set(_GROUPS)
    if unknown:
        return f"parameter_groups() has {', '.join(sorted(unknown))}; expected {' and '.join(_GROUPS)}"
    grouped = sorted(id(parameter) for group in groups.values() for parameter in group)
    if grouped != sorted(id(parameter) for parameter in layer.parameters()):
        return "parameter_groups() does not have each parameter of the module once"
    return None


@torch.no_grad()
def _fault_of_outputs(layer: Any, in_channels: int, num_classes: int) -> str | None:
    """What is wrong with what the layer makes of an image of 4 x 4 pixels; random generators stay as they were."""
    targets = torch.zeros((1, 4, 4), dtype=torch.int64)
    was_training = layer.training
    layer.eval()  # running statistics must not count this image
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = layer(torch.zeros(1, in_channels, 2, 2))
            if outputs.ndim != 4 or (len(outputs), *outputs.shape[2:]) != (1, 2, 2):
                return f"outputs have shape {tuple(outputs.shape)} for features (1, {in_channels}, 2, 2)"
            loss = layer.loss(outputs, targets)
            if loss.ndim or not loss.dtype.is_floating_point:
                return f"loss() returned {loss.dtype} {tuple(loss.shape)}; expected a scalar"
            ids = layer.predict(outputs, (4, 4))
    finally:
        layer.train(was_training)
    if ids.dtype != torch.int64 or ids.shape != targets.shape:
        return f"predict() returned {ids.dtype} {tuple(ids.shape)}; expected torch.int64 (1, 4, 4)"
    if not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
        return f"predict() returned {int(ids.min())} to {int(ids.max())}; expected classes 0 to {num_classes - 1}"
    return None

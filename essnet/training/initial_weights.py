"""Training that begins with the weights of a checkpoint, and with nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from essnet.config import InputError
from essnet.data import ClassTable
from essnet.models import SegmentationModel
from essnet.models.tensor_names import first_few, shape_text
from essnet.training.checkpoint import Checkpoint, open_checkpoint

_OUTPUT_LAYER = "output_layer."


def load_initial_weights(model: SegmentationModel, path: str, *, classes: ClassTable) -> str | None:
    """Load a checkpoint's weights into a model that is to be trained.

    All weights of the network must fit. Those of the output layer are taken if they fit and the checkpoint's classes
    are `classes` by name and order; otherwise the layer stays as it is, as a whole.

    Returns
    -------
    None, or one line that says which weights were left out, and why.

    Raises
    ------
    InputError
        If there is no such checkpoint, it is damaged, or its network is another one.
    """
    where = f"model.initial_weights={path}"
    try:
        checkpoint = open_checkpoint(Path(path))
        weights = checkpoint.weights()
    except InputError as error:
        raise InputError(f"model.initial_weights: {error}") from None
    wanted = model.state_dict()
    misfits = _misfits(weights, wanted)
    in_network = [misfit for name, misfit in misfits.items() if not name.startswith(_OUTPUT_LAYER)]
    if in_network:
        raise InputError(
            f"{where}: the weights of {_network(checkpoint)} do not fit this model ({first_few(in_network)}); "
            "all but the output layer's must"
        )
    reason = None
    if misfits:
        reason = first_few(list(misfits.values()))
    elif checkpoint.classes.names != classes.names:
        reason = "its classes are others"
    if reason is not None:
        weights = {name: wanted[name] if name.startswith(_OUTPUT_LAYER) else weights[name] for name in wanted}
    model.load_state_dict(weights)
    if reason is None:
        return None
    left_out = [name for name in wanted if name.startswith(_OUTPUT_LAYER)]
    return f"{where}: {', '.join(left_out)} left out, and begun anew: {reason}"


def _misfits(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what is wrong with each tensor that the checkpoint and the model do not have alike."""
    misfits = {}
    for name in {**wanted, **weights}:
        if name not in weights:
            misfits[name] = f"{name} is missing there"
        elif name not in wanted:
            misfits[name] = f"{name} is not wanted here"
        elif weights[name].shape != wanted[name].shape:
            misfits[name] = f"{name} is {shape_text(weights[name])} there and {shape_text(wanted[name])} here"
    return misfits


def _network(checkpoint: Checkpoint) -> str:
    model = checkpoint.config.model
    return f"{model.architecture} with {model.encoder}"

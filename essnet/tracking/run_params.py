"""Which of a trial's settings become its run's params: few enough to compare; all of them are in `config.yaml`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from essnet.config import TrialConfig
from essnet.config.model import BUILT_IN_OBJECTIVES
from essnet.config.overrides import flatten

TELLING = (
    "seed",
    "data.name",
    "data.num_classes",
    "data.crop_size",
    "model.architecture",
    "model.encoder",
    "model.encoder_weights",
    "model.output_stride",
    "optimizer.name",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.encoder_lr_factor",
    "optimizer.class_embeddings_lr_factor",
    "schedule.name",
    "trainer.max_steps",
    "trainer.batch_size",
    "trainer.precision",
    "trainer.device",
    "trainer.num_threads",
    "evaluation.split",
)
"""What every run has as a param, beside the whole `objective` block."""
_BLOCK = "objective."
_ONLY_OF = {
    "objective.num_neighbours": ("knn_softmax", "sampled_softmax"),
    "objective.num_random": ("sampled_softmax",),
}
"""The objectives that have a setting; the full softmax has none but its name, another package's has its options."""
_ELSEWHERE = ("name", "tracking.")
"""What the run has as its name, or is kept where it lies."""


def run_params(config: TrialConfig, compared: Collection[str] = ()) -> dict[str, str]:
    """Return dotted path -> value for the telling settings, `compared` ones, and all that are not the default.

    `compared` are paths in which the trials of a sweep may differ: each of its trials has them, default or not, but for
    what its objective does not use: a chart over d would show the full softmax at a d that it does not have.
    """
    params = {}
    for path, value, default in _settings(config, ""):
        told = path in TELLING or path.startswith(_BLOCK) or path in compared or value != default
        misleading = path in compared and not _is_used(path, config.objective.name)
        if told and not misleading and not path.startswith(_ELSEWHERE):
            params[path] = str(value)
    return params


def _is_used(path: str, objective: str) -> bool:
    if path.startswith(_BLOCK) and (objective == "full_softmax" or objective not in BUILT_IN_OBJECTIVES):
        return path == "objective.name" or path.startswith("objective.options.")
    return objective in _ONLY_OF.get(path, (objective,))


def _settings(block: BaseModel, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, value and default of every setting; one without a default differs from it."""
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}{name}.")
        elif isinstance(value, dict):  # options of another package's
            yield from ((f"{prefix}{name}.{path}", one, object()) for path, one in flatten(value))
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", value, object() if default is PydanticUndefined else default

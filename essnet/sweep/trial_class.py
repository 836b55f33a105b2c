"""Which trials need the same memory and the same threads."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from essnet.config import TrialConfig
from essnet.config.overrides import flatten

CANNOT_CHANGE_NEEDS = (
    "name",
    "seed",
    "data.seed",
    "model.batch_norm_momentum",
    "objective.margin",
    "optimizer.lr",
    "optimizer.encoder_lr_factor",
    "optimizer.class_embeddings_lr_factor",
    "schedule.name",
    "schedule.power",
    "schedule.class_embeddings_power",
    "schedule.drop_every_steps",
    "schedule.drop_factor",
    "schedule.warmup_steps",
    "schedule.warmup_fraction",
    "trainer.max_steps",
    "trainer.log_every_steps",
    "trainer.checkpoint_every_steps",
    "trainer.keep_checkpoints",
    "evaluation.every_steps",
    "evaluation.num_pictures",
    "tracking.uri",
    "tracking.experiment",
    "tracking.log_model",
    "tracking.register",
)
"""Keys in which trials of a class may differ; every other one counts."""

ONLY_WHETHER = (
    "objective.margin_weight",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "optimizer.class_embeddings_weight_decay",
    "trainer.clip_gradient_norm",
    "trainer.ema_decay",
)
"""Keys of which only counts whether they are null or 0: then something is not computed, and nothing held for it."""


def class_values(config: TrialConfig) -> dict[str, Any]:
    """Return what the trials of a class have in common: dotted path -> value."""
    values = dict(flatten(config.model_dump()))
    for path in ONLY_WHETHER:
        if values[path]:
            values[path] = "set"
    return {path: value for path, value in values.items() if path not in CANNOT_CHANGE_NEEDS}


def class_key(config: TrialConfig, *, device: str) -> str:
    """Return a name for a trial's class on a kind of device, the same in every process."""
    text = json.dumps([device, class_values(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

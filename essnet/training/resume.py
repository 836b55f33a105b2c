"""Whether a run may be resumed with another configuration."""

from __future__ import annotations

from typing import Any

from essnet.config import InputError, TrialConfig
from essnet.config.overrides import flatten

MAY_CHANGE = (
    "trainer.device",
    "trainer.num_threads",
    "trainer.log_every_steps",
    "trainer.keep_checkpoints",
    "data.num_workers",
    "data.root",
    "evaluation.num_pictures",
    "tracking.uri",
    "tracking.experiment",
    "tracking.log_model",
    "tracking.register",
)
"""Where and how a trial runs: changing these does not change what is computed."""


def check_same_trial(saved: TrialConfig, asked: TrialConfig) -> None:
    """Refuse to resume the trial `saved` as another one.

    Raises
    ------
    InputError
        If the configurations differ in more than where and how the trial runs.
    """
    old: dict[str, Any] = dict(flatten(saved.model_dump()))
    new: dict[str, Any] = dict(flatten(asked.model_dump()))
    for path in sorted((old.keys() | new.keys()).difference(MAY_CHANGE)):
        if old.get(path) != new.get(path):
            raise InputError(
                f"{path}: is {new.get(path)!r}, but the run to resume has {old.get(path)!r}; "
                "resume with the same configuration, or start anew without --resume"
            )

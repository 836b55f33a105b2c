"""One trial: loop, optimizer, schedule, evaluation, checkpoints.

A name is imported from its file when it is first asked for: all of them together, with networks and data sets, take
seconds, and who needs one small file should not wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from essnet.training.checkpoint import Checkpoint as Checkpoint
    from essnet.training.checkpoint import open_checkpoint as open_checkpoint
    from essnet.training.device import resolve_device as resolve_device
    from essnet.training.evaluation import Evaluation as Evaluation
    from essnet.training.evaluation import EvaluationResult as EvaluationResult
    from essnet.training.interruption import interruption_by_signal as interruption_by_signal
    from essnet.training.loss_watch import NonFiniteLossError as NonFiniteLossError
    from essnet.training.result import TrainResult as TrainResult
    from essnet.training.result import best_value as best_value
    from essnet.training.result import read_history as read_history
    from essnet.training.tracker import NullTracker as NullTracker
    from essnet.training.tracker import Tracker as Tracker
    from essnet.training.trainer import Trainer as Trainer
    from essnet.training.trial import build_trial as build_trial
    from essnet.training.trial import load_model as load_model

_FILES = {
    "Checkpoint": "checkpoint",
    "Evaluation": "evaluation",
    "EvaluationResult": "evaluation",
    "NonFiniteLossError": "loss_watch",
    "NullTracker": "tracker",
    "Tracker": "tracker",
    "TrainResult": "result",
    "Trainer": "trainer",
    "best_value": "result",
    "build_trial": "trial",
    "interruption_by_signal": "interruption",
    "load_model": "trial",
    "open_checkpoint": "checkpoint",
    "read_history": "result",
    "resolve_device": "device",
}
"""Name -> the file that it is in."""

if not TYPE_CHECKING:  # to a type checker, with this every name would be one of these

    def __getattr__(name):
        if name not in _FILES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)

"""One trial: loop, optimizer, schedule, evaluation, checkpoints."""

from essnet.training.checkpoint import Checkpoint, open_checkpoint
from essnet.training.device import resolve_device
from essnet.training.evaluation import Evaluation, EvaluationResult
from essnet.training.interruption import interruption_by_signal
from essnet.training.loss_watch import NonFiniteLossError
from essnet.training.result import TrainResult, best_value, read_history
from essnet.training.tracker import NullTracker, Tracker
from essnet.training.trainer import Trainer
from essnet.training.trial import build_trial, load_model

__all__ = [
    "Checkpoint",
    "Evaluation",
    "EvaluationResult",
    "NonFiniteLossError",
    "NullTracker",
    "Tracker",
    "TrainResult",
    "Trainer",
    "best_value",
    "build_trial",
    "interruption_by_signal",
    "load_model",
    "open_checkpoint",
    "read_history",
    "resolve_device",
]

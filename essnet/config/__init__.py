"""Schemas, strict YAML, overrides, names of other packages' code, and messages that say what would be right."""

from essnet.config.arm import Arm, Point
from essnet.config.arm_checks import MOST_POINTS, describe_point
from essnet.config.data import DataConfig, FolderData, TexturesData
from essnet.config.errors import InputError
from essnet.config.evaluation import EvaluationConfig
from essnet.config.loading import Sweep, load_sweep, load_trial, to_yaml, trial_from_mapping
from essnet.config.messages import did_you_mean
from essnet.config.model import ModelConfig, ObjectiveConfig
from essnet.config.optimization import OptimizerConfig, ScheduleConfig
from essnet.config.space import Choice, FloatRange, IntRange, Space
from essnet.config.sweep import METRICS, ResourcesConfig, SweepConfig
from essnet.config.trial import TrialConfig

__all__ = [
    "METRICS",
    "MOST_POINTS",
    "Arm",
    "Choice",
    "DataConfig",
    "EvaluationConfig",
    "FloatRange",
    "FolderData",
    "InputError",
    "IntRange",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Point",
    "ResourcesConfig",
    "ScheduleConfig",
    "Space",
    "Sweep",
    "SweepConfig",
    "TexturesData",
    "TrialConfig",
    "describe_point",
    "did_you_mean",
    "load_sweep",
    "load_trial",
    "to_yaml",
    "trial_from_mapping",
]

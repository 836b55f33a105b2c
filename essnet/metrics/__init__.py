"""Segmentation metrics from confusion counts."""

from essnet.metrics.confusion import ConfusionCounts
from essnet.metrics.confusion_pairs import Confusion, ConfusionPairs

__all__ = ["Confusion", "ConfusionCounts", "ConfusionPairs"]

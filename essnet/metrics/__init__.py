"""Segmentation metrics from confusion counts."""

from essnet.metrics.confusion import ConfusionCounts

__all__ = ["ConfusionCounts"]

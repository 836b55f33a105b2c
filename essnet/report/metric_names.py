"""Metrics in words, as they stand in a sentence."""

from __future__ import annotations

_WORDS = {
    "val/miou": "mIoU",
    "val/mean_accuracy": "mean accuracy",
    "val/pixel_accuracy": "pixel accuracy",
    "val/fw_iou": "frequency-weighted IoU",
    "val/miou_frequent": "mIoU of frequent classes",
    "val/miou_common": "mIoU of common classes",
    "val/miou_rare": "mIoU of rare classes",
    "perf/step_ms": "ms a step",
    "perf/images_per_s": "images a second",
    "perf/data_wait_ms": "ms of waiting for data a step",
    "perf/evaluation_s": "s an evaluation",
    "perf/peak_memory_mib": "MiB peak memory",
    "perf/loss_memory_mib": "MiB output memory",
}


def in_words(metric: str) -> str:
    """Return a metric's name in words, or as it is where it has none."""
    return _WORDS.get(metric, metric)

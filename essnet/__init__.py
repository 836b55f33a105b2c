"""Find out which embedding dimension and how many neighbours a large-vocabulary segmentation needs.

What can be taken without the rest, into any training loop, is here by name: the losses as a module and as functions,
the search for the nearest class, the metrics, the ignored label, and the label space of COCO + LVIS. A name is imported
when it is first asked for; `__init__.pyi` tells type checkers of them.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "IGNORE_INDEX": "essnet.labels",
    "ConfusionCounts": "essnet.metrics",
    "EmbeddingLoss": "essnet.losses",
    "LVIS_CLASSES": "essnet.coco_lvis.label_space",
    "STUFF_CLASSES": "essnet.coco_lvis.label_space",
    "build_index": "essnet.neighbours",
    "draw_negatives": "essnet.losses",
    "embedding_softmax_loss": "essnet.losses",
    "full_softmax_loss": "essnet.losses",
    "knn_softmax_loss": "essnet.losses",
    "margin_regulariser": "essnet.losses",
    "nearest_class": "essnet.neighbours",
    "sampled_softmax_loss": "essnet.losses",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'essnet' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Small sweeps for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from essnet.config import Sweep, load_sweep

TINY_TRIAL: dict[str, Any] = {
    "data": {"name": "textures", "num_classes": 5, "crop_size": 32, "val_images": 8},
    "model": {"encoder": "tu-test_resnet"},
    "objective": {"name": "embedding_softmax"},
    "optimizer": {"name": "adamw", "lr": 0.004},
    "trainer": {"max_steps": 6, "batch_size": 4, "log_every_steps": 1},
    "evaluation": {"every_steps": 2, "num_pictures": 1},
}


def write_sweep(folder: Path, **blocks: Any) -> Path:
    """Write a tiny sweep's YAML; `blocks` replace the top-level blocks of the default one."""
    content: dict[str, Any] = {
        "name": "tiny",
        "base": TINY_TRIAL,
        "baseline": "full",
        "arms": {
            "full": {"objective.name": "full_softmax"},
            "knn": {
                "objective.name": "knn_softmax",
                "objective.embedding_dim": {"choice": [2, 4]},
                "objective.num_neighbours": {"int": [1, 2]},
            },
        },
        **blocks,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def tiny_sweep(folder: Path, **blocks: Any) -> Sweep:
    """Return a tiny sweep, loaded."""
    return load_sweep(write_sweep(folder, **blocks))

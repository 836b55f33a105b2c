"""Paths in a configuration, made independent of the folder a process happens to run in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from essnet.config.fields import absolute

_SQLITE = "sqlite:///"


def make_paths_absolute(values: dict[str, Any]) -> None:
    """Make `data.root`, a file in `model.encoder_weights`, and an sqlite file in `tracking.uri` absolute, in place."""
    data, model, tracking = (values.get(block) or {} for block in ("data", "model", "tracking"))
    if isinstance(data, dict) and isinstance(data.get("root"), str):
        data["root"] = absolute(data["root"])
    if isinstance(model, dict) and _is_file_name(model.get("encoder_weights")):
        model["encoder_weights"] = absolute(model["encoder_weights"])
    if isinstance(tracking, dict) and isinstance(tracking.get("uri"), str) and tracking["uri"].startswith(_SQLITE):
        file = tracking["uri"].removeprefix(_SQLITE)
        if file and not file.startswith((":memory:", "file:")):
            tracking["uri"] = f"{_SQLITE}{Path(file).absolute()}"


def _is_file_name(weights: object) -> bool:
    return isinstance(weights, str) and weights not in ("", "none", "imagenet") and not weights.startswith("package:")

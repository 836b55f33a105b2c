"""What a run leaves behind besides its checkpoints: its history and its result, as small files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from essnet.atomic_files import naming, write_atomically
from essnet.config.errors import InputError


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    `metrics` are those of the evaluation with the best mIoU, with the run's `perf/` figures; `steps` counts
    the optimizer steps that were taken.
    """

    directory: Path
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    metrics: Mapping[str, float]
    steps: int
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the result with paths as text."""
        values = asdict(self)
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


class History:
    """The evaluations of a run, one JSON object a line, in `history.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: a resumed run does it again."""
        lines = [json.dumps(entry) for entry in read_history(self._path) if entry["step"] <= step]
        text = "".join(f"{line}\n" for line in lines)
        write_atomically(self._path, lambda path: path.write_text(text, encoding="utf-8"))

    def has(self, step: int) -> bool:
        """Whether there is an evaluation of a step."""
        return any(entry["step"] == step for entry in read_history(self._path))

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add an evaluation."""
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "metrics": dict(metrics)}) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read `history.jsonl`; a last line that was cut off by a crash is left out.

    Raises
    ------
    InputError
        If a line is something else than an evaluation.
    """
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if not _is_evaluation(entry):
                raise InputError(f"{path}: damaged; line {len(entries) + 1} is no evaluation")
            entries.append(entry)
    except InputError:
        raise
    except (ValueError, RecursionError):
        pass
    return entries


def _is_evaluation(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("step"), int)
        and isinstance(entry.get("metrics"), dict)
        and all(isinstance(value, int | float) for value in entry["metrics"].values())
    )


def best_metrics(directory: Path, metric: str, mode: str) -> dict[str, float]:
    """Return the metrics of the evaluation that is best by `metric`, with the run's `perf/` figures; {} without any."""
    return best_of_history(read_history(directory / "history.jsonl"), metric, mode)


def best_of_history(entries: Sequence[Mapping[str, Any]], metric: str, mode: str) -> dict[str, float]:
    """Return the metrics of the best of the evaluations that `read_history` returned; {} where there is none.

    The `perf/` figures are the last evaluation's: each time they were those of all steps so far. Where `metric` is
    one of them, the best evaluation is that with the best mIoU, as for the best checkpoint.
    """
    history = [entry["metrics"] for entry in entries]
    if metric.startswith("perf/"):
        metric, mode = "val/miou", "max"
    sign = -1 if mode == "max" else 1
    sound = [metrics for metrics in history if math.isfinite(metrics.get(metric, math.nan))]
    best: dict[str, float] = min(sound, key=lambda metrics: sign * metrics[metric], default={})
    last = history[-1] if history else {}
    return {**best, **{name: value for name, value in last.items() if name.startswith("perf/")}}

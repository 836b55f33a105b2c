"""What is fuzzed: each takes the number of a case, makes its input of it, and gives that to the code that reads it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from essnet.config import load_sweep, load_trial, to_yaml
from essnet.sweep.plan import trial_counts
from tests.cli.workplace import SWEEP, TRIAL
from tests.fuzzing import grammar
from tests.fuzzing.cases import Run, Subject
from tests.fuzzing.folders import annotations, archives, checkpoints, sweep_folders
from tests.fuzzing.pictures import images, masks, matlab_labels, videos

_BATCH = 50


def _drawn(strategy: st.SearchStrategy[Any], number: int) -> Any:
    """What hypothesis draws for a number; the first that it draws for any seed is the simplest there is."""
    drawn = _batch(strategy, number // _BATCH)
    return drawn[number % _BATCH % len(drawn)]


@lru_cache(maxsize=1)
def _batch(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=_BATCH,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found


def _trials(folder: Path) -> Run:
    texts = grammar.trial_texts()

    def run(number: int) -> None:
        path = folder / "x.yaml"
        path.write_text(_drawn(texts, number), encoding="utf-8", errors="surrogateescape")
        config = load_trial(path)
        (folder / "again.yaml").write_text(to_yaml(config), encoding="utf-8")
        if load_trial(folder / "again.yaml") != config:
            raise AssertionError("the configuration that was saved is another one")

    return run


def _sweeps(folder: Path) -> Run:
    texts = grammar.sweep_texts()

    def run(number: int) -> None:
        path = folder / "x.yaml"
        path.write_text(_drawn(texts, number), encoding="utf-8", errors="surrogateescape")
        trial_counts(load_sweep(path))

    return run


def _overrides(folder: Path) -> Run:
    (folder / "t.yaml").write_text(TRIAL)
    (folder / "s.yaml").write_text(SWEEP)
    strategy = grammar.overrides()

    def run(number: int) -> None:
        arguments = _drawn(strategy, number)
        if number % 2:
            load_trial(folder / "t.yaml", arguments)
        else:
            trial_counts(load_sweep(folder / "s.yaml", arguments))

    return run


SUBJECTS: dict[str, Subject] = {
    "trials": _trials,
    "sweeps": _sweeps,
    "overrides": _overrides,
    "images": images,
    "masks": masks,
    "videos": videos,
    "MATLAB labels": matlab_labels,
    "annotations": annotations,
    "checkpoints": checkpoints,
    "sweep folders": sweep_folders,
    "archives": archives,
}

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import load_sweep, load_trial
from essnet.config.strict_yaml import load_yaml_mapping

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "experiments").rglob("*.y*ml"))


def test_there_are_experiments() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_yaml_loads(path: Path) -> None:
    if "arms" in load_yaml_mapping(path):
        sweep = load_sweep(path)
        for arm in sweep.arms:
            for point in arm.probe_points():
                sweep.trial_config({**arm.fixed, **point})
    else:
        load_trial(path)

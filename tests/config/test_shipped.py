from __future__ import annotations

import re
from pathlib import Path

import pytest

from essnet.config import load_sweep, load_trial
from essnet.config.conditions import HAS_EFFECT
from essnet.config.strict_yaml import load_yaml_mapping
from tests.config.files import TRIAL, write

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


def test_the_sweep_of_the_documentation(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    write(tmp_path / "trial.yaml", TRIAL)
    write(tmp_path / "sweep.yaml", text.split("```yaml")[1].split("```")[0])
    sweep = load_sweep(tmp_path / "sweep.yaml")
    assert {arm.name: arm.count() for arm in sweep.arms if arm.name != "rates"} == {
        "full_softmax": 1,
        "paper": 1,
        "embeddings": (1 + 3 + 1 + 3) * (4 + 1) + 4 * (4 + 1),
    }
    assert sweep.references == {"full_softmax", "paper"}


def test_the_documentation_names_every_key_that_some_trials_do_not_look_at() -> None:
    text = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    missing = [path for path in HAS_EFFECT if not re.search(rf"`({path.split('.')[0]}\.)?{path.split('.')[1]}`", text)]
    assert not missing

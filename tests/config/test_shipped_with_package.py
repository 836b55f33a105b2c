"""Configurations that come with essnet, wherever it is called from."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import InputError, load_sweep, load_trial

ROOT = Path(__file__).resolve().parents[2]


def test_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(Path("experiments/textures/sweep.yaml"))
    assert sweep.config.name == "textures"


def test_what_lies_there_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "experiments" / "textures" / "trial.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        (ROOT / "experiments/textures/trial.yaml").read_text().replace("name: textures\n", "name: mine\n", 1)
    )
    assert load_trial(Path("experiments/textures/trial.yaml")).name == "mine"


@pytest.mark.parametrize("path", ["experiments/textures/none.yaml", "elsewhere/textures/trial.yaml"])
def test_what_is_nowhere_is_named_as_it_was_asked_for(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{path}"):
        load_trial(Path(path))

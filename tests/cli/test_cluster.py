from __future__ import annotations

import socket
from pathlib import Path

import pytest

from essnet.cli.app import main
from essnet.cli.cluster import _paths, _trials
from tests.data.fixtures import make_folder_dataset
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as exited:
        main(["cluster", *arguments])
    return exited.value.code


def test_help_has_an_example_with_a_sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run("check", "--help") == 0
    usage, _, examples = capsys.readouterr().out.partition("Examples:")
    assert "cluster check" in usage
    assert "cluster check experiments/ade20k/sweep.yaml" in examples
    assert "--json" in examples


@pytest.mark.parametrize("output", ["runs", "a/b/runs"])
def test_no_cluster_answers(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        assert run("check", "--address", address, "--output", output) == 2
    captured = capsys.readouterr()
    assert captured.err == f"essnet: --address: no cluster answers at {address}\n"
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_bad_input_comes_before_the_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tmp_path / "none.yaml"), "--address", "local") == 2
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run("check", "--address", "local", "--output", str(tmp_path / "file")) == 2
    assert "--output: cannot write below" in capsys.readouterr().err


def test_all_that_trials_read_is_looked_for(tmp_path: Path) -> None:
    data = make_folder_dataset(tmp_path / "data")
    weights = tmp_path / "encoder.pt"
    base = {**TINY_TRIAL, "data": {"name": "folder", "root": str(data), "crop_size": 32}}
    arms = {
        "full": {"objective.name": "full_softmax"},
        "exact": {
            "objective.embedding_dim": {"choice": [2, 4]},
            "model.encoder_weights": {"choice": ["none", str(weights)]},
        },
    }
    trials = _trials(tiny_sweep(tmp_path, base=base, arms=arms))
    assert _paths(trials) == sorted([str(data), str(weights)])
    assert _paths(_trials(tiny_sweep(tmp_path))) == []

"""What `sweep --dry-run` says, and that Ctrl-C is answered before a sweep has begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from essnet.cli import app
from essnet.config import InputError
from tests.sweep.sweeps import tiny_sweep, write_sweep


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        app.main(arguments)
    return int(exit_.value.code or 0)


def dry_run(folder: Path, capsys: pytest.CaptureFixture[str], **blocks: Any) -> tuple[dict[str, Any], list[str]]:
    path = write_sweep(folder, resources={"gpus": 0}, **blocks)
    assert run("sweep", str(path), "--dry-run", "--json", "--output", str(folder / "runs")) == 0
    printed = capsys.readouterr()
    assert not (folder / "runs").exists()
    return json.loads(printed.out.splitlines()[-1]), printed.err.splitlines()


def test_replicates_are_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, lines = dry_run(tmp_path, capsys, replicate={"top": 2, "seeds": [0, 1, 2]})
    assert result == {"sweep": "tiny", "trials": 11, "arms": {"full": 3, "knn": 8}}
    assert lines[0].startswith("sweep tiny: 11 trials, grid search by val/miou")
    assert "  full (baseline): 1 trial and 2 replicates" in lines
    assert "  knn: 4 trials and 4 replicates" in lines
    assert "  the best 2 of each arm with seeds 0, 1, 2" in lines


def test_budgets_and_objectives_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = {
        "algorithm": "optuna",
        "num_trials": 5,
        "step_budget": 1000,
        "time_budget": 1.5,
        "objectives": [{"metric": "val/miou"}, {"metric": "perf/step_ms"}],
    }
    _, lines = dry_run(tmp_path, capsys, search=search)
    assert "6 trials, optuna search by val/miou and perf/step_ms" in lines[0]
    assert lines[1:3] == [
        "  at most 1.5 hours, after which no trial of the search begins",
        "  at most 1,000 steps, after which no trial of the search begins",
    ]


def test_ctrl_c_before_the_first_trial_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("essnet.sweep.preflight.check_arms", interrupt)
    path = write_sweep(tmp_path)
    assert run("sweep", str(path), "--output", str(tmp_path / "runs")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "essnet: interrupted"


def test_a_scheduler_needs_a_metric_that_there_is_in_between(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path, search={"metric": "perf/step_ms"}, scheduler={"name": "asha"})
    assert run("sweep", str(path), "--dry-run") == 2
    assert "scheduler: asha stops trials by perf/step_ms, which only a whole run has" in capsys.readouterr().err


def test_metrics_that_the_data_lacks_are_named_where_they_stand(tmp_path: Path) -> None:
    search = {"objectives": [{"metric": "val/miou"}, {"metric": "val/miou_rare"}]}
    base = {"data": {"name": "folder", "root": "mine"}, "objective": {"name": "embedding_softmax"}}
    with pytest.raises(InputError, match=r"sweep\.yaml: search\.objectives\.1\.metric: found 'val/miou_rare'"):
        tiny_sweep(tmp_path, search=search, base=base)

"""The end of a sweep: what is compared, and what the store has by then."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from essnet.atomic_files import write_json
from essnet.cli.sweep import _close
from essnet.config.trial import TrackingConfig
from essnet.sweep.folder import SweepFolder
from essnet.tracking import RunStore
from tests.report.sweep_folders import add_trial, make_sweep_folder


def folder_without_run_ids(path: Path) -> SweepFolder:
    folder = make_sweep_folder(path, num_trials=1)
    add_trial(folder, 0, "full", {1: {"val/miou": 0.5}})
    write_json(folder.trial("000-full") / "run.json", {})
    return folder


def closed(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, end_runs: Callable[..., bool]) -> str | None:
    monkeypatch.setattr("essnet.sweep.parent_run.end_runs", end_runs)
    monkeypatch.setattr("essnet.report.best_models.log_sweep_models", lambda *_, **__: None)
    store = RunStore(f"sqlite:///{folder.path}/m.db", "e", artifact_root=folder.path)
    comparison, _, _ = _close(folder, store, TrackingConfig())
    (row,) = csv.DictReader((folder.path / "comparison.csv").read_text(encoding="utf-8").splitlines())
    assert row["run_id"] == (comparison.trials[0].run_id or "")
    return comparison.trials[0].run_id


def test_runs_that_a_slow_store_has_at_the_last_moment_are_in_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_without_run_ids(tmp_path / "s")

    def end_runs(folder: SweepFolder, **_: object) -> bool:
        write_json(folder.trial("000-full") / "run.json", {"run_id": "late"})
        return True

    assert closed(folder, monkeypatch, end_runs) == "late"


def test_a_store_that_never_answers_leaves_the_comparison_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closed(folder_without_run_ids(tmp_path / "s"), monkeypatch, lambda *_, **__: False) is None

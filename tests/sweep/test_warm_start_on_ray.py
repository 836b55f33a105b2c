"""A sweep with several objectives and a constraint that begins with what another one found, on real Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from essnet.sweep.folder import SweepFolder
from essnet.sweep.objectives import read_figures
from tests.sweep.sweeps import tiny_sweep, write_sweep
from tests.sweep.test_on_ray import result_of, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_one_sweep_after_another(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "exact": {"objective.embedding_dim": {"int": [2, 16]}, "trainer.num_threads": 1},
    }
    write_sweep(tmp_path, name="first", arms=arms, search={"algorithm": "random", "num_trials": 3})
    first = run(tmp_path, "--json")
    assert first.returncode == 0, first.stderr

    search = {
        "algorithm": "optuna",
        "num_trials": 2,
        "seed": 1,
        "warm_start": ["first"],
        "objectives": [{"metric": "perf/loss_memory_mib"}, {"metric": "val/miou"}],
        "constraints": [{"metric": "perf/step_ms", "at_least": 1e9}],
    }
    write_sweep(tmp_path, name="second", arms=arms, search=search)
    second = run(tmp_path, "--json")
    assert second.returncode == 0, second.stderr
    trials = result_of(second)["trials"]
    assert [trial["state"] for trial in trials] == ["COMPLETED"] * 3

    # What was taken is what the trials of the first sweep have on disk.
    folder = SweepFolder(tmp_path / "runs" / "second")
    kept = json.loads((folder.path / "warm_start.json").read_text())
    assert kept["summary"] == ["3 of 4 trials of first; others differ in objective.name"]
    sweep = tiny_sweep(tmp_path, name="second", arms=arms, search=search)
    taken = {trial["trial_id"]: trial for trial in kept["trials"]}
    exact = [trial for trial in result_of(first)["trials"] if trial["arm"] == "exact"]
    assert set(taken) == {trial["trial_id"] for trial in exact}
    for trial in exact:
        path = tmp_path / "runs" / "first" / "trials" / trial["trial_id"]
        assert taken[trial["trial_id"]]["figures"] == read_figures(path, sweep.config.search)
        assert taken[trial["trial_id"]]["point"] == {
            "objective.embedding_dim": trial["overrides"]["objective.embedding_dim"]
        }
    # And each trial of the second has all that its search looks at.
    for record in folder.records():
        assert read_figures(folder.trial(record.trial_id), sweep.config.search) is not None

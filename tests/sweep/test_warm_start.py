from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from essnet.config import InputError, Sweep, TrialConfig
from essnet.sweep.folder import FAILED, STOPPED, SweepFolder
from essnet.sweep.plan import grid_points
from essnet.sweep.search import ArmSearch, build_search
from essnet.sweep.trial_queue import TrialQueue
from essnet.sweep.warm_start import WARM_START_FILE, WarmStart, find_warm_start, keep_warm_start
from tests.sweep.ended_sweep import write_ended_sweep
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep

ARMS: dict[str, Any] = {
    "full": {"objective.name": "full_softmax"},
    "exact": {
        "objective.name": "embedding_softmax",
        "objective.embedding_dim": {"int": [1, 40]},
        "objective.logit_scale": {"choice": [10, 20]},
    },
}
LONGER = {**TINY_TRIAL, "trainer": {**TINY_TRIAL["trainer"], "max_steps": 7}}


def sweep_with(folder: Path, *names: str, **blocks: Any) -> Sweep:
    search = {"algorithm": "optuna", "num_trials": 20, "warm_start": list(names), **blocks.pop("search", {})}
    return tiny_sweep(folder, **{"arms": ARMS, **blocks, "search": search})


def metrics(trial: TrialConfig) -> Mapping[str, float]:
    """Best with 35 dimensions."""
    return {"val/miou": 1 - abs(trial.objective.embedding_dim - 35) / 40, "perf/step_ms": 7.0}


def ended(output: Path, name: str, dims: range = range(1, 41, 2), *, arms: Any = ARMS, **options: Any) -> SweepFolder:
    """An earlier sweep: the baseline, and the second arm with these dimensions."""
    base = options.pop("base", TINY_TRIAL)
    sweep = tiny_sweep(output, arms=arms, base=base)
    full, exact = sweep.arms
    points = [point for point in grid_points(exact) if point["objective.embedding_dim"] in dims]
    trials = [(full, {}), *((exact, point) for point in points)]
    return write_ended_sweep(output / name, sweep, trials, options.pop("metrics", metrics), **options)


def found(output: Path, *names: str, **blocks: Any) -> WarmStart:
    return find_warm_start(sweep_with(output, *names, **blocks), SweepFolder(output / "tiny"))


def test_what_fits_is_taken_and_the_rest_explained(tmp_path: Path) -> None:
    wider = {**ARMS["exact"], "objective.embedding_dim": {"int": [1, 50]}}
    ended(tmp_path, "a", range(30, 46), arms={**ARMS, "exact": wider})
    ended(tmp_path, "b", range(3, 5), base=LONGER)
    (tmp_path / "elsewhere").mkdir()
    ended(tmp_path / "elsewhere", "c", range(3, 5))
    warm_start = found(tmp_path, "a", "b", str(tmp_path / "elsewhere" / "c"))
    assert warm_start.summary == (
        "22 of 33 trials of a; others differ in objective.name",
        "0 of 5 trials of b; they differ in trainer.max_steps",
        f"4 of 5 trials of {tmp_path}/elsewhere/c; others differ in objective.name",
    )
    points = [point for point, _ in warm_start.known("exact")]
    dims = [dim for dim in (*range(30, 41), 3, 4) for _ in range(2)]
    assert points == [
        {"objective.embedding_dim": dim, "objective.logit_scale": scale}
        for dim, scale in zip(dims, [10, 20] * len(dims), strict=False)
    ]
    assert [figures for _, figures in warm_start.known("exact")] == [
        {"val/miou": 1 - abs(dim - 35) / 40} for dim in dims
    ]
    assert warm_start.known("full") == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"state": FAILED}, "did not complete"),
        ({"state": STOPPED}, "did not complete"),
        ({"metrics": lambda _: {"val/miou": float("nan")}}, "lack a figure that the search looks at"),
        ({"metrics": lambda _: {"val/fw_iou": 0.5}}, "lack a figure that the search looks at"),
    ],
)
def test_only_completed_trials_with_all_figures(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    ended(tmp_path, "a", range(2, 4), **options)
    assert found(tmp_path, "a") == WarmStart(summary=(f"0 of 5 trials of a; they {reason}",))


def test_replicates_are_no_trials_of_the_search(tmp_path: Path) -> None:
    ended(tmp_path, "a", range(2, 4), replicates="001-exact")
    assert found(tmp_path, "a").summary == ("0 of 0 trials of a",)


def test_no_arm_is_searched(tmp_path: Path) -> None:
    ended(tmp_path, "a", range(2, 3))
    sweep = tiny_sweep(tmp_path, arms={"full": {}}, search={"algorithm": "optuna", "warm_start": ["a"]})
    summary = find_warm_start(sweep, SweepFolder(tmp_path / "tiny")).summary
    assert summary == ("0 of 3 trials of a; they fit no arm that is searched",)


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    folder = ended(tmp_path, "a", range(2, 3))
    (folder.trial("001-exact") / "config.yaml").write_text("name: x\nnew_block: 1\n")
    (folder.trial("000-full") / "config.yaml").unlink()
    summary = found(tmp_path, "a").summary[0]
    assert summary.startswith("1 of 3 trials of a; others cannot be read (")
    assert "config.yaml" in summary


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["textures"], "textures: no such sweep; did you mean texture?"),
        (["texture", "texture/../texture"], "found 'texture/../texture', which is twice the same sweep; leave it out"),
        (["texture", "texture"], "found 'texture', which is twice the same sweep; leave it out"),
    ],
)
def test_a_sweep_that_is_not_there_or_stands_twice(tmp_path: Path, names: list[str], message: str) -> None:
    ended(tmp_path, "texture", range(1))
    with pytest.raises(InputError) as error:
        found(tmp_path, *names)
    assert str(error.value) == f"search.warm_start: {message}"


def test_a_sweep_does_not_begin_with_itself(tmp_path: Path) -> None:
    ended(tmp_path, "tiny", range(1))
    with pytest.raises(InputError, match="found 'tiny', which is this sweep itself; leave it out"):
        found(tmp_path, "tiny")


def test_no_sweep_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"a: no such sweep; there is no sweep in {tmp_path}"):
        found(tmp_path, "a")


def test_what_was_taken_is_kept(tmp_path: Path) -> None:
    sweep, folder = sweep_with(tmp_path, "a"), SweepFolder(tmp_path / "tiny")
    ended(tmp_path, "a", range(2, 9))
    assert not (folder.path / WARM_START_FILE).exists()
    kept = keep_warm_start(sweep, folder)
    assert len(kept.trials) == 14
    ended(tmp_path, "a", range(2, 20))
    assert find_warm_start(sweep, folder) == kept
    shutil.rmtree(tmp_path / "a")
    assert keep_warm_start(sweep, folder) == kept
    assert json.loads((folder.path / WARM_START_FILE).read_text())["trials"][0] == {
        "sweep": "a",
        "trial_id": "001-exact",
        "arm": "exact",
        "point": {"objective.embedding_dim": 2, "objective.logit_scale": 10},
        "figures": {"val/miou": 1 - 33 / 40},
    }


def test_nothing_is_kept_where_nothing_is_asked_for(tmp_path: Path) -> None:
    sweep, folder = sweep_with(tmp_path), SweepFolder(tmp_path / "tiny")
    assert keep_warm_start(sweep, folder) == WarmStart()
    assert not (folder.path / WARM_START_FILE).exists()


def arm_search(sweep: Sweep, warm_start: WarmStart) -> ArmSearch:
    return build_search(sweep.arms[1], sweep.config, 20, warm_start.known("exact"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_search_begins_where_the_earlier_one_was_good(tmp_path: Path, seed: int) -> None:
    ended(tmp_path, "a")
    sweep = sweep_with(tmp_path, "a", search={"seed": seed})
    warm_start = find_warm_start(sweep, SweepFolder(tmp_path / "tiny"))

    def distance(search: ArmSearch) -> float:
        return mean(abs(search.propose(index)["objective.embedding_dim"] - 35) for index in range(20))

    assert distance(arm_search(sweep, warm_start)) < 9
    assert distance(arm_search(sweep, WarmStart())) > 11  # nothing known: anywhere


def test_known_trials_stand_beside_the_sweeps_own(tmp_path: Path) -> None:
    """They take nobody's place, and the order in which own trials end does not matter."""
    ended(tmp_path, "a")
    objectives = [{"metric": "val/miou"}, {"metric": "perf/step_ms"}]
    sweep = sweep_with(tmp_path, "a", search={"objectives": objectives}, overrides={"trainer.num_threads": 3})
    warm_start = find_warm_start(sweep, SweepFolder(tmp_path / "tiny"))
    assert len(warm_start.trials) == 40
    search, resumed = (arm_search(sweep, warm_start) for _ in range(2))
    told = []
    for index in range(8):
        point = search.propose(index)
        told.append((index, point, {"val/miou": index / 10, "perf/step_ms": point["objective.embedding_dim"] / 7}))
        search.tell(*told[-1])
    for one in reversed(told):
        resumed.tell(*one)
    assert resumed.propose(8) == search.propose(8)
    assert arm_search(sweep, warm_start).propose(8) != search.propose(8)


def test_a_resumed_sweep_proposes_the_same_though_the_earlier_one_is_gone(tmp_path: Path) -> None:
    ended(tmp_path, "a")
    sweep, folder = sweep_with(tmp_path, "a"), SweepFolder(tmp_path / "tiny")

    def points() -> list[Mapping[str, Any]]:
        queue = TrialQueue(sweep, folder)
        records = [queue.next() for _ in range(5)]
        return [record.point for record in records if record is not None]

    first = points()
    shutil.rmtree(tmp_path / "a")
    assert points() == first
    (folder.path / WARM_START_FILE).write_text('{"summary": [], "trials": []}')
    assert points() != first

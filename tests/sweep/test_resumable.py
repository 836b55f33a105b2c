"""Which sweeps may go on in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.atomic_files import write_json
from essnet.config import InputError
from essnet.sweep.folder import SweepFolder
from essnet.sweep.resumable import check_resumable, saved_configuration
from tests.sweep.sweeps import tiny_sweep


def test_keys_that_are_newer_than_the_folder_count_as_their_defaults(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path)
    saved = saved_configuration(sweep)
    del saved["search"]["points"], saved["scheduler"]["brackets"]
    write_json(tmp_path / "sweep.json", {"configuration": saved})
    check_resumable(sweep, SweepFolder(tmp_path))
    with pytest.raises(InputError, match=r"scheduler\.brackets: is 5, but the sweep .* has 3"):
        check_resumable(tiny_sweep(tmp_path, scheduler={"brackets": 5}), SweepFolder(tmp_path))


def test_another_sweep_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(tiny_sweep(tmp_path))})
    with pytest.raises(InputError, match=r"search\.seed: is 3, but the sweep .* has 0"):
        check_resumable(tiny_sweep(tmp_path, search={"seed": 3}), SweepFolder(tmp_path))
    check_resumable(tiny_sweep(tmp_path, failure={"max_retries": 4}), SweepFolder(tmp_path))


def test_arms_in_another_order_are_another_sweep(tmp_path: Path) -> None:
    """Their trials would have other numbers."""
    sweep = tiny_sweep(tmp_path)
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(sweep)})
    arms = dict(reversed(sweep.config.arms.items()))
    with pytest.raises(InputError, match="arms: stand in another order"):
        check_resumable(tiny_sweep(tmp_path, arms=arms), SweepFolder(tmp_path))


def test_a_null_is_not_the_same_as_nothing(tmp_path: Path) -> None:
    full, exact = {"objective.name": "full_softmax"}, {"objective.name": "embedding_softmax"}
    with_null = tiny_sweep(tmp_path, arms={"full": full, "exact": {**exact, "model.output_stride": None}})
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(with_null)})
    with pytest.raises(InputError, match=r"arms\.exact\.model\.output_stride: is missing, but .* has None"):
        check_resumable(tiny_sweep(tmp_path, arms={"full": full, "exact": exact}), SweepFolder(tmp_path))


def test_what_has_changed_is_told(tmp_path: Path) -> None:
    search = {"algorithm": "random", "num_trials": 4}
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(tiny_sweep(tmp_path, search=search))})
    edited = tiny_sweep(
        tmp_path,
        search={**search, "num_trials": 6, "time_budget": 2.5},
        replicate={"seeds": [0, 1]},
        resources={"cpus": 1},
        report={"figures": ["mypkg.speed:SPEED"]},
    )
    assert check_resumable(edited, SweepFolder(tmp_path)) == [
        "replicate.seeds: [0, 1] now, None before",
        "report.figures: ['mypkg.speed:SPEED'] now, [] before",
        "resources.cpus: 1.0 now, None before",
        "search.num_trials: 6 now, 4 before",
        "search.time_budget: 2.5 now, None before",
    ]


def test_fewer_trials_are_refused(tmp_path: Path) -> None:
    """Some of them may have run."""
    search = {"algorithm": "random", "num_trials": 4}
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(tiny_sweep(tmp_path, search=search))})
    with pytest.raises(InputError, match=r"search\.num_trials: is 3, but the sweep .* has 4"):
        check_resumable(tiny_sweep(tmp_path, search={**search, "num_trials": 3}), SweepFolder(tmp_path))


def test_what_is_kept_of_the_best_model_may_change_but_not_where_runs_are(tmp_path: Path) -> None:
    write_json(tmp_path / "sweep.json", {"configuration": saved_configuration(tiny_sweep(tmp_path))})
    edited = tiny_sweep(tmp_path, tracking={"register": "street"})
    assert check_resumable(edited, SweepFolder(tmp_path)) == ["base.tracking.register: street now, None before"]
    moved = tiny_sweep(tmp_path, tracking={"experiment": "elsewhere"})
    with pytest.raises(InputError, match=r"base\.tracking\.experiment: is 'elsewhere', but .* does not set it"):
        check_resumable(moved, SweepFolder(tmp_path))

"""What a sweep goes on from may be a stranger's, or damaged: each file is named in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isnan
from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.sweep.budget import Budget
from essnet.sweep.folder import SweepFolder
from essnet.sweep.requests import Requests
from essnet.sweep.results_log import Reported, ResultsLog
from essnet.sweep.warm_start import find_warm_start
from essnet.tracking import RunSpec
from tests.sweep.sweeps import tiny_sweep


def _warm_start(folder: Path) -> object:
    return find_warm_start(tiny_sweep(folder), SweepFolder(folder))


def _budget(folder: Path) -> object:
    return Budget(folder, hours=None, steps=None)


READERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "requests/add-1.json": (
        lambda folder: Requests(folder).added_trials(),
        ["{}", '{"num_trials": "many"}', "[]", "{"],
    ),
    "budget.json": (_budget, ['{"seconds": "a"}', '{"seconds": []}', "[1]"]),
    "warm_start.json": (_warm_start, ['{"trials": 7}', '{"trials": [{"arm": 1}]}', '{"summary": [[]]}', "x"]),
    "tracking/spec.json": (RunSpec.load, ["{}", '{"uri": "x"}', "[]", '{"uri": 1, "experiment": []}']),
    "results.jsonl": (lambda folder: ResultsLog(folder / "results.jsonl").read(), ["{}\n", "x\n", "[1]\n", "7\n"]),
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, (_, contents) in READERS.items() for content in contents]
)
def test_what_is_damaged_is_named(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"^{tmp_path / name}: damaged; "):
        READERS[name][0](tmp_path)


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    assert Requests(tmp_path).added_trials() == 0
    assert _budget(tmp_path).seconds < 60
    assert RunSpec.load(tmp_path) is None
    assert ResultsLog(tmp_path / "results.jsonl").read() == []


def test_a_result_that_is_no_number_is_a_result(tmp_path: Path) -> None:
    log = ResultsLog(tmp_path / "results.jsonl")
    log.append(Reported("000-full", 5, float("nan"), False))
    (found,) = log.read()
    assert isnan(found.value)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(
            json.dumps({"trial_id": "001", "step": 1, "value": 0.5, "stopped": False})[:20]
        )  # cut off by a crash
    assert len(log.read()) == 1

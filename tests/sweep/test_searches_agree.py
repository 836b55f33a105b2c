"""Grid, random and optuna mean the same by a space, whatever its conditions: against an oracle, on random spaces."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import assume, given, settings

from essnet.config import InputError, Sweep
from essnet.sweep.plan import grid_points, plan_trials, trial_counts
from essnet.sweep.search import build_search
from tests.sweep.sweeps import tiny_sweep

VALUES: dict[str, list[Any]] = {
    "objective.name": ["full_softmax", "embedding_softmax", "knn_softmax", "sampled_softmax"],
    "objective.similarity": ["l2", "cosine", "dot"],
    "objective.num_neighbours": [1, 4, 7],
    "objective.num_random": [2, 3],
    "objective.margin_weight": [0, 0.5],
    "objective.margin": [0.1, 0.3],
    "data.num_classes": [2, 5, 9],
    "schedule.name": ["poly", "step", "cosine"],
    "schedule.power": [1.0, 2.0],
    "trainer.compile": [True, False],
    "seed": [1, 2],
}
RANGES: dict[str, dict[str, Any]] = {
    "objective.num_neighbours": {"int": [1, 6], "step": 2},
    "objective.margin": {"float": [0.1, 0.3], "step": 0.1},
    "seed": {"int": [1, 3]},
}

REFUSED = ("is searched in no trial", "can never be", "go round in a circle", "nothing remains")

EMBEDDINGS = ("embedding_softmax", "knn_softmax", "sampled_softmax")


def matters(path: str, trial: dict[str, Any]) -> bool:
    """What the objectives and schedules look at, said once more."""
    name, normalised = trial["objective.name"], trial["objective.similarity"] != "dot"
    with_margin = name in EMBEDDINGS and normalised
    return {
        "objective.similarity": name in EMBEDDINGS,
        "objective.num_neighbours": name in ("knn_softmax", "sampled_softmax"),
        "objective.num_random": name == "sampled_softmax",
        "objective.margin_weight": with_margin,
        "objective.margin": with_margin and trial["objective.margin_weight"] > 0,
        "schedule.power": trial["schedule.name"] == "poly",
    }.get(path, True)


def oracle(sweep: Sweep, values: dict[str, list[Any]], whens: dict[str, dict[str, list[Any]]]) -> set[str]:
    """The product of all values; what is inactive dropped until nothing changes; each once; neighbours that exist."""
    found = set()
    for combination in itertools.product(*values.values()):
        everything = dict(zip(values, combination, strict=True))
        point = everything
        for _ in range(len(values) + 1):
            config = sweep.trial_config({**sweep.arms[1].fixed, **point}).model_dump()
            trial = {path: config[path.split(".")[0]][path.split(".")[1]] for path in VALUES if "." in path}
            trial["seed"] = config["seed"]
            point = {
                path: value
                for path, value in everything.items()
                if matters(path, trial) and all(trial[other] in allowed for other, allowed in whens[path].items())
            }
        if point.get("objective.num_neighbours", 0) < trial["data.num_classes"]:
            found.add(as_text(point))
    return found


def as_text(point: Any) -> str:
    return str(sorted(point.items()))


@st.composite
def arms(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, dict[str, list[Any]]]]:
    """An arm as YAML has it, and what the oracle knows of it."""
    written: dict[str, Any] = {}
    values: dict[str, list[Any]] = {}
    whens: dict[str, dict[str, list[Any]]] = {}
    for path in draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5, unique=True)):
        space = draw(st.sampled_from([{"choice": VALUES[path]}, RANGES.get(path, {"choice": VALUES[path][:2]})]))
        others = draw(st.lists(st.sampled_from(list(VALUES)), max_size=1))
        whens[path] = {other: VALUES[other][(start := draw(st.integers(0, 1))) : start + 2] for other in others}
        written[path] = {**space, "when": whens[path]} if whens[path] else space
        values[path] = {
            "choice": lambda space=space: space["choice"],
            "int": lambda space=space: list(range(space["int"][0], space["int"][1] + 1, space.get("step", 1))),
            "float": lambda: [0.1, 0.2, 0.3],
        }[next(iter(space))]()
    fixed = draw(st.sampled_from(["embedding_softmax", "knn_softmax", "sampled_softmax"]))
    return {"objective.name": fixed, **written}, values, whens


def searched_sweep(folder: str, arm: dict[str, Any], algorithm: str) -> Sweep:
    search = {"algorithm": algorithm} if algorithm == "grid" else {"algorithm": algorithm, "num_trials": 6}
    return tiny_sweep(Path(folder), arms={"full": {"objective.name": "full_softmax"}, "a": arm}, search=search)


@settings(deadline=None, max_examples=60)
@given(arms())
def test_searches_agree(drawn: Any) -> None:
    arm, values, whens = drawn
    with tempfile.TemporaryDirectory() as folder:
        try:
            sweep = searched_sweep(folder, arm, "grid")
        except InputError as error:
            if not any(reason in str(error) for reason in REFUSED):
                raise
            assume(False)
        points = grid_points(sweep.arms[1])
        texts = [as_text(point) for point in points]
        assert len(set(texts)) == len(texts)
        assert set(texts) == oracle(sweep, values, whens)
        assert trial_counts(sweep)["a"] == len(points) == sum(one.arm.name == "a" for one in plan_trials(sweep))

        for most in (1000, 0):  # every combination of probes, and each probe once
            with mock.patch("essnet.config.arm._MOST_PROBES", most):
                probes = sweep.arms[1].probe_points()
            assert {as_text(point) for point in probes} <= set(texts)
            assert {path for point in probes for path in point} == {path for point in points for path in point}

        for algorithm in ("random", "optuna"):
            sweep = searched_sweep(folder, arm, algorithm)
            count = trial_counts(sweep)["a"]
            search = build_search(sweep.arms[1], sweep.config, count)
            proposed = []
            for index in range(count):
                proposed.append(search.propose(index))
                search.tell(index, proposed[-1], {"val/miou": len(str(proposed[-1])) % 7})
            assert {as_text(point) for point in proposed} <= set(texts)
            resumed = build_search(sweep.arms[1], sweep.config, count)
            for index in reversed(range(count - 2)):
                resumed.tell(index, proposed[index], {"val/miou": len(str(proposed[index])) % 7})
            assert resumed.propose(count - 2) == proposed[-2]

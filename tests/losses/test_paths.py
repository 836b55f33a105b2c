from __future__ import annotations

import builtins
from typing import Any

import pytest
import torch

from essnet.losses import knn_softmax_loss
from essnet.losses.candidates import Candidates
from essnet.losses.paths import (
    DENSE_CLASSES_PER_OWN_CLASS,
    MAX_STRIP_CLASSES,
    STRIP_CLASSES_PER_NEIGHBOUR,
    choose_path,
    fused_can_take,
)
from essnet.losses.rows import Rows
from tests.losses.batches import assert_close, make_batch, run, run_oracle


def rows_of(*, num_classes: int = 11, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Rows:
    return Rows(
        pixels=torch.zeros(5, 3, dtype=dtype, device=device),
        classes=torch.zeros(num_classes, 3, dtype=dtype, device=device),
        targets=torch.zeros(5, dtype=torch.int64, device=device),
        logit_scale=torch.ones((), dtype=dtype, device=device),
    )


NONE, SOME = torch.arange(0), torch.arange(4)
EXACT, KNN, SAMPLED = Candidates(0, SOME), Candidates(3, NONE), Candidates(3, SOME)
ALL, ONE_MORE = (Candidates(0, torch.arange(MAX_STRIP_CLASSES + more)) for more in (0, 1))
KNN_THRESHOLD = MAX_STRIP_CLASSES + 3 * STRIP_CLASSES_PER_NEIGHBOUR
WIDE = {"dtype": torch.float64}
THRESHOLD = 4 * DENSE_CLASSES_PER_OWN_CLASS  # with 3 neighbours


@pytest.mark.parametrize(
    ("rows", "candidates", "asked", "path"),
    [
        ({"num_classes": MAX_STRIP_CLASSES}, ALL, {}, "strips"),
        ({"num_classes": MAX_STRIP_CLASSES + 1}, ONE_MORE, {}, "tiles"),
        ({}, KNN, {}, "strips"),
        ({"num_classes": KNN_THRESHOLD}, KNN, {}, "strips"),
        ({"num_classes": KNN_THRESHOLD + 1}, KNN, {}, "tiles"),
        ({}, SAMPLED, {}, "tiles"),
        ({}, EXACT, {}, "tiles"),  # not all classes
        ({}, KNN, {"backend": "faiss"}, "search"),
        ({}, KNN, {"backend": "torch"}, "search"),
        ({}, KNN, {"search": "approximate"}, "search"),
        ({}, EXACT, {"backend": "torch"}, "tiles"),  # nothing to search
        (WIDE, EXACT, {}, "dense"),
        (WIDE | {"num_classes": THRESHOLD}, KNN, {}, "dense"),
        (WIDE | {"num_classes": THRESHOLD + 1}, KNN, {}, "search"),
        (WIDE, SAMPLED, {}, "search"),
        ({"device": "meta"}, EXACT, {}, "dense"),
        ({"device": "meta"}, KNN, {}, "dense"),
        ({"device": "meta", "num_classes": 5000}, KNN, {}, "search"),
    ],
)
def test_the_rule(rows: dict[str, Any], candidates: Candidates, asked: dict[str, str], path: str) -> None:
    assert choose_path(rows_of(**rows), candidates, **{"backend": "auto", "search": "exact", **asked}) == path


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e8])
@pytest.mark.parametrize("tensor", ["pixels", "classes", "logit_scale"])
def test_numbers_that_could_overflow_are_left_to_the_plain_engine(bad: float, tensor: str) -> None:
    rows = rows_of()
    assert fused_can_take(rows)
    getattr(rows, tensor).view(-1)[-1] = bad
    assert not fused_can_take(rows)


def test_without_numba_the_plain_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_numba(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "numba":
            raise ImportError("no numba")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_numba)
    assert not fused_can_take(rows_of())
    batch = make_batch()
    actual = run(knn_softmax_loss, batch, num_neighbours=3)
    assert_close(actual, run_oracle(batch, num_neighbours=3, similarity="l2"))


@pytest.mark.parametrize("similarity", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("num_classes", [THRESHOLD, THRESHOLD + 1, KNN_THRESHOLD, KNN_THRESHOLD + 1])
def test_all_paths_agree_on_both_sides_of_the_thresholds(
    num_classes: int, similarity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(num_classes=num_classes, size=(1, 16, 16))
    expected = run_oracle(batch, num_neighbours=3, similarity=similarity)
    for path in ("strips", "tiles", "dense", "search"):
        monkeypatch.setattr("essnet.losses.candidate_softmax.choose_path", lambda *a, path=path, **k: path)
        assert_close(run(knn_softmax_loss, batch, num_neighbours=3, similarity=similarity), expected)

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX
from essnet.metrics import confusion_pairs as module
from essnet.metrics.confusion_pairs import ConfusionPairs
from tests.losses.no_waiting import NoWaiting
from tests.oracles import confusion_matrix


@pytest.fixture(params=["waiting", "queued"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of counting, that of a GPU on the CPU."""
    if request.param == "queued":
        monkeypatch.setattr(module, "_add", module._add_queued)


both_ways = pytest.mark.usefixtures("_way")


def batches(num_classes: int, count: int, *, pixels: int = 500) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(num_classes)
    shape = (2, pixels // 2)
    return [
        (
            torch.randint(num_classes, shape, generator=generator),
            torch.randint(IGNORE_INDEX, num_classes, shape, generator=generator),
        )
        for _ in range(count)
    ]


def expected(pairs: list[tuple[Tensor, Tensor]], num_classes: int) -> list[dict[str, int]]:
    """Cell by cell of the whole matrix, rows the truth."""
    matrix = sum(confusion_matrix(predicted, truth, num_classes) for predicted, truth in pairs)
    assert isinstance(matrix, Tensor)
    cells = [
        {"truth": truth, "predicted": predicted, "pixels": int(matrix[truth, predicted])}
        for truth in range(num_classes)
        for predicted in range(num_classes)
        if truth != predicted and matrix[truth, predicted] > 0
    ]
    return sorted(cells, key=lambda cell: -cell["pixels"])


@both_ways
@pytest.mark.parametrize("num_classes", [1, 2, 7, 40])
def test_equals_the_whole_matrix(num_classes: int) -> None:
    pairs, counted = batches(num_classes, 4), ConfusionPairs(num_classes)
    for predicted, truth in pairs:
        counted.update(predicted, truth)
    cells = expected(pairs, num_classes)
    assert counted.largest(10_000) == cells
    assert counted.largest(3) == cells[:3]


@both_ways
def test_nothing_wrong_and_nothing_at_all() -> None:
    counted = ConfusionPairs(5)
    assert counted.largest(10) == []
    ids = torch.arange(5)
    counted.update(ids, ids)
    counted.update(ids, torch.full((5,), IGNORE_INDEX))
    counted.update(ids[:0], ids[:0])
    assert counted.largest(10) == []


@both_ways
def test_a_hundred_thousand_classes_take_no_matrix() -> None:
    num_classes = 100_000  # 80 GB as a matrix
    counted = ConfusionPairs(num_classes, most_pairs=1000)
    last = torch.full((3,), num_classes - 1)
    counted.update(torch.tensor([0, 0, num_classes - 2]), last)
    counted.update(last, torch.tensor([7, num_classes - 1, IGNORE_INDEX]))
    assert counted.largest(10) == [
        {"truth": num_classes - 1, "predicted": 0, "pixels": 2},
        {"truth": 7, "predicted": num_classes - 1, "pixels": 1},
        {"truth": num_classes - 1, "predicted": num_classes - 2, "pixels": 1},
    ]


@both_ways
def test_where_there_are_too_many_pairs_the_smallest_are_forgotten() -> None:
    counted = ConfusionPairs(10, most_pairs=2)
    truth = torch.zeros(6, dtype=torch.int64)
    counted.update(torch.tensor([1, 1, 1, 2, 2, 3]), truth)  # 3 goes
    counted.update(torch.tensor([1, 3, 3, 3, 0, 0]), truth)  # 3 comes back from zero, and 2 goes
    assert counted.largest(10) == [
        {"truth": 0, "predicted": 1, "pixels": 4},
        {"truth": 0, "predicted": 3, "pixels": 3},
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: not yet run on one")
def test_a_gpu_counts_the_same() -> None:
    pairs, counted = batches(40, 3), ConfusionPairs(40)
    for predicted, truth in pairs:
        counted.update(predicted.cuda(), truth.cuda())
    assert counted.largest(10_000) == expected(pairs, 40)


def test_on_a_gpu_nothing_is_waited_for() -> None:
    pairs = pixels = torch.empty(0, dtype=torch.int64)
    with NoWaiting():
        for new in (torch.tensor([3, 5, 3, -1]), torch.tensor([5, 5, -1, 9])):
            pairs, pixels = module._add_queued(pairs, pixels, new, capacity=4)
    assert dict(zip(pairs.tolist(), pixels.tolist(), strict=True)) == {5: 3, 3: 2, 9: 1, -1: 0}

from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from essnet.labels import IGNORE_INDEX
from essnet.metrics import ConfusionCounts, confusion
from tests.oracles import confusion_matrix, segmentation_metrics

Batch = tuple[torch.Tensor, torch.Tensor]


def batches(num_classes: int, *, count: int = 3) -> list[Batch]:
    """Predictions and targets of which some pixels are ignored and the last two classes never occur."""
    generator = torch.Generator().manual_seed(num_classes)
    made = []
    for _ in range(count):
        targets = torch.randint(IGNORE_INDEX, num_classes - 2, (2, 5, 7), generator=generator)
        guesses = torch.randint(0, num_classes - 2, (2, 5, 7), generator=generator)
        right = torch.rand(targets.shape, generator=generator) < 0.6
        made.append((torch.where(right & (targets >= 0), targets, guesses), targets))
    return made


def counted(num_classes: int, seen: list[Batch]) -> ConfusionCounts:
    counts = ConfusionCounts(num_classes)
    for predictions, targets in seen:
        counts.update(predictions, targets)
    return counts


@pytest.fixture(params=["dense", "sparse"])
def representation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(confusion, "DENSE_UP_TO_CLASSES", 10**6 if request.param == "dense" else 0)
    return str(request.param)


@pytest.mark.usefixtures("representation")
@pytest.mark.parametrize("num_classes", [3, 11, 60])
def test_equals_the_oracle(num_classes: int) -> None:
    seen = batches(num_classes)
    counts = counted(num_classes, seen)
    expected = sum(confusion_matrix(p, t, num_classes) for p, t in seen)
    assert counts.matrix().dtype == torch.int64
    assert torch.equal(counts.matrix(), expected)
    assert counts.compute() == pytest.approx(segmentation_metrics(expected), abs=1e-12)
    iou = counts.per_class_iou()
    assert iou.dtype == torch.float64
    assert iou[-2:].isnan().all()
    assert iou.nanmean().item() == pytest.approx(counts.compute()["miou"])


@pytest.mark.usefixtures("representation")
def test_agrees_with_torchmetrics() -> None:
    seen = batches(9)
    theirs = MulticlassJaccardIndex(9, average=None, ignore_index=IGNORE_INDEX)
    for predictions, targets in seen:
        theirs.update(predictions, targets)
    ours = counted(9, seen)
    assert torch.allclose(ours.per_class_iou().nan_to_num().float(), theirs.compute())
    macro = MulticlassJaccardIndex(9, average="macro", ignore_index=IGNORE_INDEX)
    for predictions, targets in seen:
        macro.update(predictions, targets)
    assert ours.compute()["miou"] == pytest.approx(float(macro.compute()), abs=1e-6)


def test_both_sides_of_the_threshold_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches(2048)
    dense = counted(2048, seen)
    monkeypatch.setattr(confusion, "DENSE_UP_TO_CLASSES", 2047)
    sparse = counted(2048, seen)
    assert type(dense._counts) is not type(sparse._counts)
    assert dense.compute() == sparse.compute()
    assert torch.equal(dense.matrix(), sparse.matrix())
    assert type(ConfusionCounts(2049)._counts) is type(sparse._counts)


def test_many_classes_take_little_memory() -> None:
    counts = counted(50_000, [(torch.tensor([1, 49_999]), torch.tensor([1, 2]))])
    assert counts.compute()["pixel_accuracy"] == 0.5
    assert counts.per_class_iou()[1] == 1.0


@pytest.mark.usefixtures("representation")
def test_merging_equals_counting_at_once() -> None:
    seen = batches(11, count=4)
    first, second = counted(11, seen[:1]), counted(11, seen[1:])
    first.merge(second)
    assert torch.equal(first.matrix(), counted(11, seen).matrix())
    with pytest.raises(ValueError, match="12 classes cannot be added to 11"):
        first.merge(ConfusionCounts(12))


@pytest.mark.usefixtures("representation")
@pytest.mark.parametrize("targets", [torch.full((2, 3), IGNORE_INDEX), torch.zeros(0, 3, dtype=torch.int64)])
def test_nothing_valid_is_zero(targets: torch.Tensor) -> None:
    counts = counted(4, [(torch.zeros_like(targets), targets)])
    assert counts.compute() == {"miou": 0.0, "mean_accuracy": 0.0, "pixel_accuracy": 0.0, "fw_iou": 0.0}
    assert counts.per_class_iou().isnan().all()


@pytest.mark.usefixtures("representation")
def test_a_class_only_predicted_counts_in_miou_but_not_in_accuracy() -> None:
    counts = counted(3, [(torch.tensor([0, 1]), torch.tensor([0, 0]))])
    metrics = counts.compute()
    assert metrics["miou"] == pytest.approx((0.5 + 0.0) / 2)
    assert metrics["mean_accuracy"] == pytest.approx(0.5)


def test_one_class() -> None:
    counts = counted(1, [(torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64))])
    assert counts.compute() == {"miou": 1.0, "mean_accuracy": 1.0, "pixel_accuracy": 1.0, "fw_iou": 1.0}


@pytest.mark.parametrize(
    ("predictions", "targets", "message"),
    [
        ([0, 3], [0, 1], r"predictions hold the class id 3; ids must lie in 0\.\.2"),
        ([0, -1], [0, 1], r"predictions hold the class id -1; ids must lie in 0\.\.2"),
        ([0, 1], [0, 255], r"targets hold the class id 255; ids must lie in 0\.\.2"),
        ([0, 1], [0, 1, 2], r"same shape; got \(2,\) and \(3,\)"),
    ],
)
def test_bad_input(predictions: list[int], targets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConfusionCounts(3).update(torch.tensor(predictions), torch.tensor(targets))


def test_at_least_one_class() -> None:
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        ConfusionCounts(0)

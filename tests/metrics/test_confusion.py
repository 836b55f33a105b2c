from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from essnet.labels import IGNORE_INDEX
from essnet.metrics import ConfusionCounts
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


@pytest.mark.parametrize("num_classes", [3, 11, 60])
def test_equals_the_oracle(num_classes: int) -> None:
    seen = batches(num_classes)
    counts = counted(num_classes, seen)
    expected = sum(confusion_matrix(p, t, num_classes) for p, t in seen)
    assert counts.compute() == pytest.approx(segmentation_metrics(expected), abs=1e-12)
    iou = counts.per_class_iou()
    assert iou.dtype == torch.float64
    assert iou[-2:].isnan().all()
    assert iou.nanmean().item() == pytest.approx(counts.compute()["miou"])


@given(
    pixels=st.lists(st.tuples(st.integers(0, 3), st.integers(IGNORE_INDEX, 3)), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
)
def test_counts_are_the_margins_of_the_matrix_however_they_come(pixels: list[tuple[int, int]], cuts: list[int]) -> None:
    predictions = torch.tensor([predicted for predicted, _ in pixels], dtype=torch.int64)
    targets = torch.tensor([truth for _, truth in pixels], dtype=torch.int64)
    counts, ends = ConfusionCounts(4), sorted(cuts)
    for begin, end in pairwise([0, *ends, max([len(pixels), *ends])]):
        counts.update(predictions[begin:end], targets[begin:end])
    matrix = confusion_matrix(predictions, targets, 4)
    assert torch.equal(counts.true(), matrix.sum(dim=1))
    assert torch.equal(counts.predicted(), matrix.sum(dim=0))
    shares = matrix.diagonal().double() / matrix.sum(dim=1)
    torch.testing.assert_close(counts.per_class_accuracy(), shares, rtol=0, atol=0, equal_nan=True)
    assert counts.true().dtype == torch.int64
    if matrix.sum() > 0:
        assert counts.compute() == pytest.approx(segmentation_metrics(matrix), abs=1e-12)
    else:
        assert set(counts.compute().values()) == {0.0}


def test_agrees_with_torchmetrics() -> None:
    # Of which the macro average, too, leaves out classes in neither truth nor prediction.
    seen = batches(9)
    theirs = MulticlassJaccardIndex(9, average=None, ignore_index=IGNORE_INDEX)
    accuracy = MulticlassAccuracy(9, average=None, ignore_index=IGNORE_INDEX)
    macro = MulticlassJaccardIndex(9, average="macro", ignore_index=IGNORE_INDEX)
    for predictions, targets in seen:
        for metric in (theirs, accuracy, macro):
            metric.update(predictions, targets)
    ours = counted(9, seen)
    assert torch.allclose(ours.per_class_iou().nan_to_num().float(), theirs.compute())
    assert torch.allclose(ours.per_class_accuracy().nan_to_num().float(), accuracy.compute())
    assert ours.compute()["miou"] == pytest.approx(float(macro.compute()), abs=1e-6)


def test_many_classes_take_little_memory() -> None:
    counts = counted(50_000, [(torch.tensor([1, 49_999]), torch.tensor([1, 2]))])
    assert counts.compute()["pixel_accuracy"] == 0.5
    assert counts.per_class_iou()[1] == 1.0
    assert counts.predicted().nonzero().flatten().tolist() == [1, 49_999]


@pytest.mark.parametrize("targets", [torch.full((2, 3), IGNORE_INDEX), torch.zeros(0, 3, dtype=torch.int64)])
def test_nothing_valid_is_zero(targets: torch.Tensor) -> None:
    counts = counted(4, [(torch.zeros_like(targets), targets)])
    assert counts.compute() == {"miou": 0.0, "mean_accuracy": 0.0, "pixel_accuracy": 0.0, "fw_iou": 0.0}
    assert counts.per_class_iou().isnan().all()


def test_predictions_at_ignored_pixels_are_nothing() -> None:
    counts = counted(3, [(torch.tensor([-7, 99, 1]), torch.tensor([IGNORE_INDEX, IGNORE_INDEX, 1]))])
    assert counts.predicted().tolist() == [0, 1, 0]


def test_a_class_only_predicted_counts_in_miou_but_not_in_accuracy() -> None:
    counts = counted(3, [(torch.tensor([0, 1]), torch.tensor([0, 0]))])
    metrics = counts.compute()
    assert metrics["miou"] == pytest.approx((0.5 + 0.0) / 2)
    assert metrics["mean_accuracy"] == pytest.approx(0.5)


def test_groups_average_their_own_classes() -> None:
    # IoU: class 0 1/2, class 1 0 (only predicted), class 2 1, class 3 absent, class 4 absent.
    counts = counted(5, [(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2]))])
    metrics = counts.compute(["common", "common", None, "common", "rare"])
    assert metrics["miou_common"] == pytest.approx((0.5 + 0.0) / 2)
    assert metrics["miou_rare"] == 0.0
    assert metrics["miou"] == pytest.approx(1.5 / 3)
    assert set(metrics) == {*counts.compute(), "miou_common", "miou_rare"}
    with pytest.raises(ValueError, match="groups name 2 classes, but there are 5"):
        counts.compute(["a", None])


def test_one_group_of_all_classes_is_the_whole() -> None:
    counts = counted(11, batches(11))
    metrics = counts.compute(["all"] * 11)
    assert metrics["miou_all"] == metrics["miou"]


def test_one_class() -> None:
    counts = counted(1, [(torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64))])
    assert counts.compute() == {"miou": 1.0, "mean_accuracy": 1.0, "pixel_accuracy": 1.0, "fw_iou": 1.0}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: not yet run on one")
def test_on_a_gpu_nothing_is_waited_for_until_it_is_read() -> None:
    seen = [(p.cuda(), t.cuda()) for p, t in batches(9)]
    counts = ConfusionCounts(9)
    counts.update(*seen[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        for predictions, targets in seen[1:]:
            counts.update(predictions, targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert counts.compute() == counted(9, batches(9)).compute()
    counts.update(torch.tensor([9]).cuda(), torch.tensor([0]).cuda())
    with pytest.raises(ValueError, match=r"1 pixels have class ids outside 0\.\.8"):
        counts.compute()


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

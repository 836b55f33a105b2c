"""On a GPU no loss makes the host wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from essnet.labels import IGNORE_INDEX
from essnet.losses import (
    draw_negatives,
    embedding_softmax_loss,
    full_softmax_loss,
    margin_regulariser,
    sampled_softmax_loss,
)
from essnet.neighbours import SIMILARITIES
from tests.losses.batches import LOSSES, Batch, assert_close, make_batch, run, run_oracle
from tests.losses.no_waiting import NoWaiting, Waits, as_on_a_gpu

each_loss = pytest.mark.parametrize("name", LOSSES)
each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)
each_share_of_ignored = pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: float(x[0]),
        lambda x: bool((x > 0).all()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_fill_(x > 0, 1.0).index_put_((x > 0,), torch.tensor(2.0)),
        lambda x: x.long().unique(),
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: x.long().abs().bincount(),
        lambda x: x.repeat_interleave(x.long().abs()),
        lambda x: x.to("meta"),
    ],
)
def test_what_waits_is_seen(waiting: Callable[[Tensor], Any]) -> None:
    with NoWaiting(), pytest.raises(Waits):
        waiting(torch.randn(5))


@each_loss
@each_similarity
@each_share_of_ignored
@pytest.mark.parametrize("num_classes", [11, 60])  # by all logits, and by a search
def test_forward_and_backward_read_nothing(
    name: str, similarity: str, ignored: float, num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    batch = make_batch(num_classes=num_classes, ignored=ignored)
    loss, arguments, oracle_arguments = LOSSES[name]
    with NoWaiting():
        actual = run(loss, batch, similarity=similarity, chunk_bytes=20_000, **arguments)
    assert_close(actual, run_oracle(batch, similarity=similarity, **oracle_arguments))


@each_share_of_ignored
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_full_softmax_reads_nothing(
    ignored: float, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    logits = torch.randn(2, 11, 5, 7).contiguous(memory_format=layout).requires_grad_()
    targets = make_batch(ignored=ignored).targets
    with NoWaiting():
        full_softmax_loss(logits=logits, targets=targets).backward()


@pytest.mark.parametrize("most_rows", [4096, 30])
def test_the_regulariser_reads_nothing(most_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    monkeypatch.setattr("essnet.losses.margin.ALL_ROWS_UP_TO", most_rows)
    classes = make_batch(num_classes=60).class_embeddings
    with NoWaiting():
        margin_regulariser(class_embeddings=classes).backward()
    assert (classes.grad != 0).any()


@each_loss
@each_similarity
@pytest.mark.parametrize("num_classes", [11, 60])
@pytest.mark.parametrize("logit_scale", [20.0, None])
def test_cuda_tensors_without_values_suffice(
    name: str, similarity: str, num_classes: int, logit_scale: float | None
) -> None:
    """The loss and its gradients, which it computes beside it, on fake CUDA tensors: these have no values to read."""
    real = make_batch(num_classes=num_classes)
    loss, arguments, _ = LOSSES[name]
    with FakeTensorMode(allow_non_fake_inputs=True), NoWaiting():
        pixels, classes, targets, scale = (
            torch.empty_like(tensor, device="cuda") for tensor in (*real.leaves()[:2], real.targets, real.logit_scale)
        )
        if "negatives" in arguments:
            negatives = torch.empty_like(arguments["negatives"], device="cuda")
            arguments = {**arguments, "negatives": negatives}
        value = loss(
            pixel_embeddings=pixels.requires_grad_(),
            class_embeddings=classes.requires_grad_(),
            targets=targets,
            similarity=similarity,
            logit_scale=scale.requires_grad_() if logit_scale is None else logit_scale,
            **arguments,
        )
        assert value.device.type == "cuda"
        assert value.requires_grad


@each_loss
@each_similarity
def test_what_an_ignored_pixel_holds_is_of_no_concern(
    name: str, similarity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    batch = make_batch()
    loss, arguments, _ = LOSSES[name]
    expected = run(loss, batch, similarity=similarity, **arguments)
    ignored = (batch.targets == IGNORE_INDEX)[:, None]
    pixels = batch.pixel_embeddings.detach().masked_fill(ignored, float("nan")).requires_grad_()
    broken = Batch(pixels, batch.class_embeddings, batch.targets, batch.logit_scale)
    actual = run(loss, broken, similarity=similarity, **arguments)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@each_loss
def test_values_out_of_range_fail_on_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    loss, arguments, _ = LOSSES[name]
    for bad in (11, -2):
        batch = make_batch()
        batch.targets[1, 2, 3] = bad
        with pytest.raises(RuntimeError, match=r"a class id that is neither in 0\.\.10 nor -1 \(ignored\)"):
            run(loss, batch, **arguments)
    with pytest.raises(RuntimeError, match=r"logit_scale must be > 0"):
        run(loss, make_batch(logit_scale=-1.0), **arguments)


@pytest.mark.parametrize(
    ("negatives", "message"),
    [([1, -1], r"a class id outside 0\.\.10"), ([1, 11], r"outside 0\.\.10"), ([3, 1, 3], "more than once")],
)
def test_bad_negatives_fail_on_the_device(negatives: list[int], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    with pytest.raises(RuntimeError, match=f"negatives hold .*{message}"):
        run(sampled_softmax_loss, make_batch(), num_neighbours=2, negatives=torch.tensor(negatives))


def test_negatives_travel_unwaited(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    with FakeTensorMode(), NoWaiting():
        negatives = draw_negatives(num_classes=50, num_random=9, generator=None, device="cuda")
    assert negatives.device.type == "cuda"
    assert [len(tensor) for tensor in pinned] == [9]


@pytest.mark.parametrize(("num_classes", "dim"), [(1284, 2), (1284, 4), (64, 16)])
def test_many_close_classes_keep_their_digits(num_classes: int, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    batch = make_batch(num_classes=num_classes, dim=dim, size=(1, 12, 12), ignored=0.0)
    near = batch.class_embeddings.detach()[batch.targets].permute(0, 3, 1, 2)
    batch.pixel_embeddings = near + 1e-2 * torch.randn(near.shape, generator=torch.Generator().manual_seed(1))
    batch.pixel_embeddings.requires_grad_()
    assert_close(run(embedding_softmax_loss, batch), run_oracle(batch, similarity="l2"))


def test_classes_that_all_lie_where_the_pixel_is_have_a_loss_and_finite_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_on_a_gpu(monkeypatch)
    batch = make_batch(num_classes=300, dim=12, ignored=0.0)
    only = batch.class_embeddings.detach()[:1]
    batch.class_embeddings = only.repeat(300, 1).requires_grad_()
    batch.pixel_embeddings = only.t()[None, :, :, None].expand(2, -1, 5, 7).contiguous().requires_grad_()
    value, gradients = run(embedding_softmax_loss, batch)
    torch.testing.assert_close(value, torch.tensor(300.0).log(), rtol=5e-3, atol=0)
    assert all(gradient.isfinite().all() for gradient in gradients)

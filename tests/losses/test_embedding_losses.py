from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.config.errors import InputError
from essnet.labels import IGNORE_INDEX
from essnet.losses import embedding_softmax_loss, knn_softmax_loss, sampled_softmax_loss
from essnet.neighbours import SIMILARITIES
from tests.losses.batches import LOSSES, Batch, assert_close, make_batch, run, run_oracle
from tests.losses.no_waiting import as_on_a_gpu
from tests.oracles import all_logits, rows_of

FLOAT64_ERRORS = {"value_error": 1e-12, "gradient_error": 1e-11}


@pytest.fixture(params=["strips", "tiles", "dense", "search", "dense on a GPU", "search on a GPU"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs on every way to compute the loss; float64 never takes a compiled one."""
    if request.param == "tiles":
        monkeypatch.setattr("essnet.losses.paths.MAX_STRIP_CLASSES", -math.inf)
    if request.param.endswith("on a GPU"):
        as_on_a_gpu(monkeypatch)
    elif request.param in ("dense", "search"):
        monkeypatch.setattr("essnet.losses.paths.fused_can_take", lambda rows: False)
    if request.param.startswith("search"):
        monkeypatch.setattr("essnet.losses.paths.DENSE_CLASSES_PER_OWN_CLASS", 0)
    return str(request.param)


each_loss = pytest.mark.parametrize("name", LOSSES)
each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


def compare(
    name: str, batch: Batch, *, similarity: str = "l2", errors: dict[str, float] | None = None, **more: Any
) -> None:
    loss, arguments, oracle_arguments = LOSSES[name]
    actual = run(loss, batch, similarity=similarity, **arguments, **more)
    assert_close(actual, run_oracle(batch, similarity=similarity, **oracle_arguments), **(errors or {}))


@each_loss
@each_similarity
@pytest.mark.parametrize("logit_scale", [1.0, 20.0, 100.0])
def test_float32_against_the_oracle(name: str, similarity: str, logit_scale: float) -> None:
    compare(name, make_batch(logit_scale=logit_scale), similarity=similarity)


@each_loss
@each_similarity
def test_float64_stays_float64(name: str, similarity: str) -> None:
    batch = make_batch(dtype=torch.float64)
    compare(name, batch, similarity=similarity, errors=FLOAT64_ERRORS)
    loss, arguments, _ = LOSSES[name]
    value, _ = run(loss, batch, similarity=similarity, **arguments)
    assert value.dtype == torch.float64


@each_loss
@each_similarity
@pytest.mark.parametrize("chunk_bytes", [1, 3000, 20_000, 1 << 24], ids=["one pixel", "few", "uneven", "all"])
def test_chunks_do_not_matter(name: str, similarity: str, chunk_bytes: int) -> None:
    compare(
        name,
        make_batch(dtype=torch.float64),
        similarity=similarity,
        errors=FLOAT64_ERRORS,
        chunk_bytes=chunk_bytes,
    )


@each_loss
@each_similarity
@pytest.mark.parametrize("dim", [1, 2, 64])
def test_dimensions(name: str, similarity: str, dim: int) -> None:
    batch = make_batch(dim=dim)
    if dim == 1:  # unit numbers are +1 and -1: spread them, or every distance is a tie
        batch.class_embeddings = torch.linspace(-1.1, 1.3, 11)[:, None].requires_grad_()
    compare(name, batch, similarity=similarity)


@each_loss
@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_backends_agree(name: str, backend: str) -> None:
    compare(name, make_batch(), **({} if name == "embedding_softmax" else {"backend": backend}))


@each_loss
@each_similarity
def test_layouts_do_not_matter(name: str, similarity: str) -> None:
    batch = make_batch()
    loss, arguments, _ = LOSSES[name]
    value, gradients = run(loss, batch, similarity=similarity, **arguments)
    pixels = batch.pixel_embeddings.detach()
    wide = torch.zeros(*pixels.shape[:-1], 2 * pixels.shape[-1])
    wide[..., ::2] = pixels
    layouts = {
        "channels last": pixels.contiguous(memory_format=torch.channels_last),
        "strided": wide[..., ::2],
    }
    for layout in layouts.values():
        other = Batch(
            layout.requires_grad_(),
            batch.class_embeddings.detach().t().contiguous().t().requires_grad_(),
            batch.targets.transpose(1, 2).contiguous().transpose(1, 2),
            batch.logit_scale,
        )
        other_value, other_gradients = run(loss, other, similarity=similarity, **arguments)
        torch.testing.assert_close(other_value, value)
        torch.testing.assert_close(other_gradients, gradients)


@each_loss
@each_similarity
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_input_is_computed_in_float32(name: str, similarity: str, dtype: torch.dtype) -> None:
    batch = make_batch(dtype=dtype)
    loss, arguments, oracle_arguments = LOSSES[name]
    value, gradients = run(loss, batch, similarity=similarity, **arguments)
    assert value.dtype == torch.float32
    assert {gradient.dtype for gradient in gradients} == {dtype}
    expected = run_oracle(batch, similarity=similarity, **oracle_arguments)
    # the value is as exact as float32, the gradients are rounded once, when they are handed back
    assert_close((value, gradients), expected, gradient_error=2 * torch.finfo(dtype).eps)


@each_loss
def test_autocast_changes_nothing(name: str) -> None:
    batch = make_batch()
    loss, arguments, _ = LOSSES[name]
    expected = run(loss, batch, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = run(loss, batch, **arguments)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@each_loss
@each_similarity
def test_gradcheck(name: str, similarity: str) -> None:
    batch = make_batch(size=(1, 2, 3), dim=3, dtype=torch.float64, logit_scale=3.0)
    loss, arguments, _ = LOSSES[name]

    def value(pixels: Tensor, classes: Tensor, scale: Tensor) -> Tensor:
        return loss(
            pixel_embeddings=pixels,
            class_embeddings=classes,
            targets=batch.targets,
            logit_scale=scale,
            similarity=similarity,
            **arguments,
        )

    assert torch.autograd.gradcheck(value, batch.leaves())


@each_loss
@each_similarity
@pytest.mark.parametrize("targets", [torch.full((2, 5, 7), IGNORE_INDEX), torch.zeros(0, 5, 7, dtype=torch.int64)])
def test_nothing_valid_is_zero_with_zero_gradients(name: str, similarity: str, targets: Tensor) -> None:
    batch = make_batch()
    pixels = torch.full_like(batch.pixel_embeddings, float("nan"))[: len(targets)].requires_grad_()
    loss, arguments, _ = LOSSES[name]
    empty = Batch(pixels, batch.class_embeddings, targets, batch.logit_scale)
    value, gradients = run(loss, empty, similarity=similarity, **arguments)
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


@each_similarity
def test_one_class_costs_nothing(similarity: str) -> None:
    batch = make_batch(num_classes=1)
    only = torch.tensor([0])
    for loss, arguments in (
        (embedding_softmax_loss, {}),
        (knn_softmax_loss, {"num_neighbours": 7}),
        (sampled_softmax_loss, {"num_neighbours": 7, "negatives": only}),
        (sampled_softmax_loss, {"num_neighbours": 0, "negatives": only}),
    ):
        value, gradients = run(loss, batch, similarity=similarity, **arguments)
        assert value == 0
        assert all((gradient == 0).all() for gradient in gradients)


@each_similarity
@pytest.mark.parametrize("num_neighbours", [10, 11, 100])
def test_enough_neighbours_equal_the_exact_softmax(similarity: str, num_neighbours: int) -> None:
    batch = make_batch()
    expected = run(embedding_softmax_loss, batch, similarity=similarity)
    some = torch.tensor([1, 2])
    knn = run(knn_softmax_loss, batch, similarity=similarity, num_neighbours=num_neighbours)
    sampled = run(sampled_softmax_loss, batch, similarity=similarity, num_neighbours=num_neighbours, negatives=some)
    torch.testing.assert_close(knn, expected, rtol=0, atol=0)
    torch.testing.assert_close(sampled, expected, rtol=0, atol=0)


@each_similarity
@pytest.mark.parametrize("num_neighbours", [0, 3])
def test_all_classes_as_negatives_equal_the_exact_softmax(similarity: str, num_neighbours: int) -> None:
    batch = make_batch()
    everything = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    actual = run(
        sampled_softmax_loss,
        batch,
        similarity=similarity,
        num_neighbours=num_neighbours,
        negatives=everything,
    )
    torch.testing.assert_close(actual, run(embedding_softmax_loss, batch, similarity=similarity))


@each_loss
@each_similarity
def test_rivals_however_far_still_count(name: str, similarity: str) -> None:
    batch = make_batch(dtype=torch.float64, logit_scale=1e13)
    compare(name, batch, similarity=similarity, errors=FLOAT64_ERRORS)


def test_a_negative_that_is_every_pixels_target_leaves_no_rival() -> None:
    batch = make_batch(ignored=0.0)
    batch.targets.fill_(4)
    for similarity in SIMILARITIES:
        value, gradients = run(
            sampled_softmax_loss, batch, similarity=similarity, num_neighbours=0, negatives=torch.tensor([4])
        )
        assert value == 0
        assert all((gradient == 0).all() for gradient in gradients)


@each_loss
@pytest.mark.parametrize("logit_scale", [20.0, 100.0])
@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4])
def test_small_distances_keep_their_digits(name: str, logit_scale: float, distance: float) -> None:
    batch = make_batch(logit_scale=logit_scale, size=(2, 8, 8))
    generator = torch.Generator().manual_seed(7)
    directions = torch.nn.functional.normalize(torch.randn(2, 4, 8, 8, generator=generator), dim=1)
    near = torch.randint(0, 11, (2, 8, 8), generator=generator)  # of the target in one case of 11, else of a rival
    near[0] = batch.targets[0].clamp(min=0)
    pixels = batch.class_embeddings.detach()[near].permute(0, 3, 1, 2) + distance * directions
    batch.pixel_embeddings = pixels.requires_grad_()
    compare(name, batch)


@each_loss
def test_at_distance_zero_there_is_no_direction(name: str) -> None:
    batch = make_batch(size=(1, 2, 3), ignored=0.0)
    batch.targets = torch.tensor([[[0, 1, 2], [3, 4, 5]]])
    batch.pixel_embeddings = batch.class_embeddings.detach()[:6].t().reshape(1, 4, 2, 3).contiguous()
    batch.pixel_embeddings.requires_grad_()
    compare(name, batch)
    batch.targets = batch.targets.flip(1)
    compare(name, batch)


def test_close_classes_do_not_cost_their_digits() -> None:
    batch = make_batch(logit_scale=100.0, size=(1, 6, 6))
    classes = batch.class_embeddings.detach().clone()
    classes[1::2] = classes[:-1:2] + 3e-4
    batch.class_embeddings = classes.requires_grad_()
    pixels = classes.detach()[batch.targets.clamp(min=0)].permute(0, 3, 1, 2) + 1e-4 * torch.ones(4)[:, None, None]
    batch.pixel_embeddings = pixels.requires_grad_()
    compare("embedding_softmax", batch)


@each_loss
def test_a_sure_loss_is_not_rounded_to_zero(name: str) -> None:
    batch = make_batch(logit_scale=60.0, ignored=0.0, dtype=torch.float32)
    batch.pixel_embeddings = batch.class_embeddings.detach()[batch.targets].permute(0, 3, 1, 2).requires_grad_()
    loss, arguments, oracle_arguments = LOSSES[name]
    value, _ = run(loss, batch, **arguments)
    expected, _ = run_oracle(batch, similarity="l2", **oracle_arguments)
    assert expected > 0
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=0)


@each_loss
def test_a_number_as_logit_scale(name: str) -> None:
    batch = make_batch()
    loss, arguments, _ = LOSSES[name]
    inputs: dict[str, Any] = {
        "pixel_embeddings": batch.pixel_embeddings,
        "class_embeddings": batch.class_embeddings,
        "targets": batch.targets,
    }
    learned = loss(**inputs, logit_scale=batch.logit_scale.detach(), **arguments)
    assert torch.equal(loss(**inputs, logit_scale=20.0, **arguments), learned)
    assert torch.equal(loss(**inputs, **arguments), learned)


@each_loss
def test_frozen_inputs_and_incoming_gradients(name: str) -> None:
    loss, arguments, _ = LOSSES[name]
    batch = make_batch()
    _, (pixels, classes, _) = run(loss, batch, **arguments)
    frozen = Batch(batch.pixel_embeddings, batch.class_embeddings.detach(), batch.targets, batch.logit_scale.detach())
    inputs = {"pixel_embeddings": frozen.pixel_embeddings, "targets": frozen.targets, **arguments}
    value = loss(class_embeddings=frozen.class_embeddings, logit_scale=frozen.logit_scale, **inputs)
    (alone,) = torch.autograd.grad(3 * value, frozen.pixel_embeddings, retain_graph=True)
    torch.testing.assert_close(alone, 3 * pixels)
    (again,) = torch.autograd.grad(3 * value, frozen.pixel_embeddings)
    torch.testing.assert_close(again, alone, rtol=0, atol=0)
    inputs["pixel_embeddings"] = frozen.pixel_embeddings.detach()
    value = loss(class_embeddings=batch.class_embeddings, **inputs)
    torch.testing.assert_close(torch.autograd.grad(value, batch.class_embeddings)[0], classes)


@each_loss
def test_without_gradients(name: str) -> None:
    loss, arguments, _ = LOSSES[name]
    batch = make_batch()
    expected, _ = run(loss, batch, **arguments)
    inputs = {"targets": batch.targets, "class_embeddings": batch.class_embeddings, **arguments}
    with torch.no_grad():
        value = loss(pixel_embeddings=batch.pixel_embeddings, **inputs)
    assert not value.requires_grad
    assert torch.equal(value, expected)


@each_loss
def test_second_derivatives_are_refused(name: str) -> None:
    loss, arguments, _ = LOSSES[name]
    batch = make_batch()
    value = loss(
        pixel_embeddings=batch.pixel_embeddings,
        class_embeddings=batch.class_embeddings,
        targets=batch.targets,
        **arguments,
    )
    with pytest.raises(RuntimeError, match="differentiated once: call backward without create_graph=True"):
        torch.autograd.grad(value, batch.class_embeddings, create_graph=True)


@each_loss
@each_similarity
def test_nan_stays_nan(name: str, similarity: str) -> None:
    loss, arguments, _ = LOSSES[name]
    batch = make_batch(num_classes=40, ignored=0.0)
    with torch.no_grad():
        batch.pixel_embeddings[1, 2, 3, 4] = float("nan")
    assert run(loss, batch, similarity=similarity, **arguments)[0].isnan()
    batch = make_batch()
    with torch.no_grad():
        batch.logit_scale.fill_(float("nan"))
    assert run(loss, batch, similarity=similarity, **arguments)[0].isnan() == (similarity != "dot")


@each_loss
@pytest.mark.parametrize("bad", [11, 255, -2])
def test_targets_out_of_range_are_named(name: str, bad: int, path: str) -> None:
    if path.endswith("on a GPU"):
        pytest.skip("not named there: see test_no_waiting.py")
    loss, arguments, _ = LOSSES[name]
    batch = make_batch()
    batch.targets[1, 2, 3] = bad
    with pytest.raises(ValueError, match=rf"class id {bad}, but with num_classes=11 ids must lie in 0\.\.10"):
        run(loss, batch, **arguments)


@each_loss
def test_bad_input(name: str, path: str) -> None:
    loss, arguments, _ = LOSSES[name]
    batch = make_batch()
    good: dict[str, Any] = {
        "pixel_embeddings": batch.pixel_embeddings,
        "class_embeddings": batch.class_embeddings,
        "targets": batch.targets,
        **arguments,
    }
    with pytest.raises(InputError, match="similarity='l1' is unknown; choose one of l2, cosine, dot"):
        loss(**good, similarity="l1")
    read_on_a_cpu = [] if path.endswith("on a GPU") else [torch.tensor(-1.0)]
    for scale in (0.0, -1.0, float("inf"), *read_on_a_cpu):
        with pytest.raises(ValueError, match=r"logit_scale=.* must be finite and > 0"):
            loss(**good, logit_scale=scale)
    with pytest.raises(ValueError, match=r"one number; got a tensor of shape \(2,\)"):
        loss(**good, logit_scale=torch.ones(2))
    for wrong in (
        {"class_embeddings": torch.zeros(11, 5)},
        {"class_embeddings": torch.zeros(0, 4)},
        {"pixel_embeddings": torch.zeros(4, 5, 7)},
        {"targets": batch.targets[:, :4]},
    ):
        with pytest.raises(ValueError, match=r"pixel_embeddings must be \(B, D, H, W\)"):
            loss(**{**good, **wrong})
    with pytest.raises(ValueError, match=r"targets must be int64; got torch.int32; convert them with .long\(\)"):
        loss(**{**good, "targets": batch.targets.int()})
    with pytest.raises(ValueError, match=r"must be floating; got torch.int64 pixels"):
        loss(**{**good, "pixel_embeddings": batch.pixel_embeddings.long()})


def test_dot_uses_no_scale() -> None:
    batch = make_batch()
    value, (_, _, scale) = run(embedding_softmax_loss, batch, similarity="dot")
    logits = all_logits(rows_of(batch.pixel_embeddings), batch.class_embeddings, "dot", logit_scale=float("nan"))
    expected = torch.nn.functional.cross_entropy(logits, batch.targets.flatten(), ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(value, expected.detach())
    assert scale == 0

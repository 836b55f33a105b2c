from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from essnet.losses import margin_regulariser
from essnet.neighbours import BACKENDS
from tests.oracles import margin_loss


def unit_classes(num_classes: int, dim: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_classes)
    return functional.normalize(torch.randn(num_classes, dim, generator=generator), dim=1).to(dtype)


@pytest.mark.parametrize("num_classes", [1, 2, 40])
@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_against_the_oracle(num_classes: int, margin: float, dtype: torch.dtype, backend: str) -> None:
    classes = unit_classes(num_classes, 3, dtype).requires_grad_()
    value = margin_regulariser(class_embeddings=classes, margin=margin, backend=backend)
    expected_classes = classes.detach().double().requires_grad_()
    expected = margin_loss(expected_classes, margin)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
    (gradient,) = torch.autograd.grad(value, classes)
    (expected_gradient,) = torch.autograd.grad(expected, expected_classes)
    error = (gradient.double() - expected_gradient).abs().max()
    assert error <= max(1e-5, 2 * torch.finfo(dtype).eps) * expected_gradient.abs().max()


def test_the_default_margin_is_the_papers() -> None:
    classes = unit_classes(60, 2)
    torch.testing.assert_close(
        margin_regulariser(class_embeddings=classes).double(), margin_loss(classes, 0.2), rtol=1e-5, atol=0
    )


def test_close_classes_keep_their_digits() -> None:
    classes = unit_classes(10, 6)
    classes[5:] = classes[:5] + 1e-4 * unit_classes(5, 6)
    torch.testing.assert_close(
        margin_regulariser(class_embeddings=classes).double(), margin_loss(classes, 0.2), rtol=1e-6, atol=0
    )


def test_equal_classes_cost_the_margin_and_have_no_direction() -> None:
    classes = unit_classes(1, 4).repeat(3, 1).requires_grad_()
    value = margin_regulariser(class_embeddings=classes, margin=0.5)
    assert value == 0.5
    assert (torch.autograd.grad(value, classes)[0] == 0).all()


def test_of_many_classes_some_are_drawn_and_their_gradient_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("essnet.losses.margin.ALL_ROWS_UP_TO", 30)
    classes = unit_classes(100, 3).requires_grad_()
    torch.manual_seed(4)
    rows = torch.randperm(100)[:30]
    expected_classes = classes.detach().double().requires_grad_()
    distances = torch.cdist(expected_classes[rows], expected_classes)
    distances = distances + 9 * torch.nn.functional.one_hot(rows, 100)
    expected = (0.2 - distances.amin(dim=1)).clamp(min=0).mean()
    torch.manual_seed(4)
    value = margin_regulariser(class_embeddings=classes, margin=0.2)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(value, classes)
    (expected_gradient,) = torch.autograd.grad(expected, expected_classes)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-7)
    assert margin_regulariser(class_embeddings=classes, margin=0.2) != value  # another draw


def test_the_estimate_has_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = unit_classes(100, 3)
    expected = margin_regulariser(class_embeddings=classes)
    monkeypatch.setattr("essnet.losses.margin.ALL_ROWS_UP_TO", 30)
    torch.manual_seed(0)
    drawn = torch.stack([margin_regulariser(class_embeddings=classes) for _ in range(400)])
    assert drawn.std() > 0
    assert (drawn.mean() - expected).abs() < 4 * drawn.std() / 400**0.5


def test_wants_rows() -> None:
    with pytest.raises(ValueError, match=r"shape \(C, D\) with C >= 1; got \(3,\)"):
        margin_regulariser(class_embeddings=torch.zeros(3))

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from essnet.losses import margin_regulariser
from tests.oracles import margin_loss


def unit_classes(num_classes: int, dim: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_classes)
    return functional.normalize(torch.randn(num_classes, dim, generator=generator), dim=1).to(dtype)


@pytest.mark.parametrize("num_classes", [1, 2, 40])
@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("chunk_bytes", [None, 1])
def test_against_the_oracle(num_classes: int, margin: float, dtype: torch.dtype, chunk_bytes: int | None) -> None:
    classes = unit_classes(num_classes, 3, dtype).requires_grad_()
    value = margin_regulariser(class_embeddings=classes, margin=margin, chunk_bytes=chunk_bytes)
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


def test_wants_rows() -> None:
    with pytest.raises(ValueError, match=r"shape \(C, D\) with C >= 1; got \(3,\)"):
        margin_regulariser(class_embeddings=torch.zeros(3))

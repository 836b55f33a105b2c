from __future__ import annotations

import pytest
import torch

from essnet.labels import IGNORE_INDEX
from essnet.losses import check_targets, full_softmax_loss


def make_logits(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(2, 6, 3, 4, generator=generator)).to(dtype).requires_grad_()
    return logits, torch.randint(IGNORE_INDEX, 6, (2, 3, 4), generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_minus_log_softmax_averaged_over_valid_pixels(dtype: torch.dtype, layout: torch.memory_format) -> None:
    logits, targets = make_logits(dtype)
    logits = logits.detach().contiguous(memory_format=layout).requires_grad_()
    value = full_softmax_loss(logits=logits, targets=targets)
    (gradient,) = torch.autograd.grad(value, logits)
    wide = logits.detach().double().requires_grad_()
    losses = [
        -wide[b, :, y, x].log_softmax(dim=0)[targets[b, y, x]]
        for b, y, x in (targets != IGNORE_INDEX).nonzero().tolist()
    ]
    expected = torch.stack(losses).mean()
    (expected_gradient,) = torch.autograd.grad(expected, wide)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    error = (gradient.double() - expected_gradient).abs().max()
    assert error <= 2 * torch.finfo(dtype).eps * expected_gradient.abs().max()


def test_nothing_valid_is_zero_with_zero_gradients() -> None:
    logits, targets = make_logits()
    for some_logits, some_targets in (
        (logits, torch.full_like(targets, IGNORE_INDEX)),
        (logits[:0], targets[:0]),
    ):
        value = full_softmax_loss(logits=some_logits, targets=some_targets)
        assert value == 0
        assert (torch.autograd.grad(value, logits)[0] == 0).all()


def test_one_class_costs_nothing() -> None:
    logits, targets = make_logits()
    assert full_softmax_loss(logits=logits[:, :1], targets=targets.clamp(max=0)) == 0


def test_bad_input() -> None:
    logits, targets = make_logits()
    with pytest.raises(ValueError, match=r"\(B, C, H, W\) and targets \(B, H, W\); got"):
        full_softmax_loss(logits=logits, targets=targets[:, :2])
    targets[1, 2, 3] = 6
    with pytest.raises(ValueError, match=r"class id 6, but with num_classes=6 ids must lie in 0\.\.5"):
        full_softmax_loss(logits=logits, targets=targets)


def test_check_targets_passes_ids_and_the_ignored() -> None:
    check_targets(torch.tensor([IGNORE_INDEX, 0, 4]), 5)
    check_targets(torch.zeros(0, dtype=torch.int64), 5)
    with pytest.raises(ValueError, match="class id 5"):
        check_targets(torch.tensor([IGNORE_INDEX, 0, 5]), 5)

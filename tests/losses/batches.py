"""Batches for the embedding losses, and how to compare a loss and its gradients with the oracle's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from essnet.labels import IGNORE_INDEX
from essnet.losses import embedding_softmax_loss, knn_softmax_loss, sampled_softmax_loss
from tests.oracles import candidate_loss

NUM_NEIGHBOURS = 3
NEGATIVES = [8, 2, 5, 0, 10, 4]

LOSSES: dict[str, tuple[Callable[..., Tensor], dict[str, Any], dict[str, Any]]] = {
    # name: the loss, its arguments, and the oracle's
    "embedding_softmax": (embedding_softmax_loss, {}, {}),
    "knn_softmax": (
        knn_softmax_loss,
        {"num_neighbours": NUM_NEIGHBOURS},
        {"num_neighbours": NUM_NEIGHBOURS},
    ),
    "sampled_softmax": (
        sampled_softmax_loss,
        {"num_neighbours": NUM_NEIGHBOURS, "negatives": torch.tensor(NEGATIVES)},
        {"num_neighbours": NUM_NEIGHBOURS, "negatives": NEGATIVES},
    ),
    "sampled_softmax_without_neighbours": (
        sampled_softmax_loss,
        {"num_neighbours": 0, "negatives": torch.tensor(NEGATIVES)},
        {"num_neighbours": 0, "negatives": NEGATIVES},
    ),
    "sampled_softmax_without_negatives": (
        sampled_softmax_loss,
        {"num_neighbours": NUM_NEIGHBOURS, "negatives": torch.tensor([], dtype=torch.int64)},
        {"num_neighbours": NUM_NEIGHBOURS, "negatives": []},
    ),
}


@dataclass
class Batch:
    """Input of a loss."""

    pixel_embeddings: Tensor
    class_embeddings: Tensor
    targets: Tensor
    logit_scale: Tensor

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.pixel_embeddings, self.class_embeddings, self.logit_scale


def make_batch(
    *,
    num_classes: int = 11,
    dim: int = 4,
    size: tuple[int, int, int] = (2, 5, 7),
    dtype: torch.dtype = torch.float32,
    logit_scale: float = 20.0,
    ignored: float = 0.2,
    seed: int = 0,
) -> Batch:
    """Unit pixel embeddings shortened as upsampling shortens them, and unit class embeddings: no ties."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = size
    pixels = functional.normalize(torch.randn(batch, dim, height, width, generator=generator), dim=1)
    pixels = pixels * (0.7 + 0.3 * torch.rand(batch, 1, height, width, generator=generator))
    classes = functional.normalize(torch.rand(num_classes, dim, generator=generator) * 2 - 1, dim=1)
    targets = torch.randint(0, num_classes, size, generator=generator)
    targets[torch.rand(size, generator=generator) < ignored] = IGNORE_INDEX
    return Batch(
        pixels.to(dtype).requires_grad_(),
        classes.to(dtype).requires_grad_(),
        targets,
        torch.tensor(logit_scale, dtype=dtype).requires_grad_(),
    )


def run(loss: Callable[..., Tensor], batch: Batch, **arguments: Any) -> tuple[Tensor, list[Tensor]]:
    """Value and gradients for pixel embeddings, class embeddings and logit scale (0 where unused)."""
    value = loss(
        pixel_embeddings=batch.pixel_embeddings,
        class_embeddings=batch.class_embeddings,
        targets=batch.targets,
        logit_scale=batch.logit_scale,
        **arguments,
    )
    gradients = torch.autograd.grad(value, batch.leaves(), allow_unused=True)
    filled = [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(batch.leaves(), gradients, strict=True)
    ]
    return value.detach(), filled


def run_oracle(batch: Batch, **arguments: Any) -> tuple[Tensor, list[Tensor]]:
    """The same from the naive oracle, on float64 copies."""
    copies = [leaf.detach().double().requires_grad_() for leaf in batch.leaves()]
    return run(candidate_loss, Batch(copies[0], copies[1], batch.targets, copies[2]), **arguments)


def assert_close(
    actual: tuple[Tensor, list[Tensor]],
    expected: tuple[Tensor, list[Tensor]],
    *,
    value_error: float = 1e-5,
    gradient_error: float = 1e-4,
) -> None:
    """Compare values relatively, and each gradient relatively to its largest entry."""
    value, gradients = actual
    expected_value, expected_gradients = expected
    torch.testing.assert_close(value.double(), expected_value, rtol=value_error, atol=1e-12)
    for name, gradient, reference in zip(("pixels", "classes", "scale"), gradients, expected_gradients, strict=True):
        assert gradient.shape == reference.shape
        worst = (gradient.double() - reference).abs().max() if reference.numel() else torch.tensor(0.0)
        largest = reference.abs().max() if reference.numel() else torch.tensor(0.0)
        assert worst <= gradient_error * largest + 1e-12, f"{name}: off by {worst:.3g} of {largest:.3g}"

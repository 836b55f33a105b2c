"""Cross-entropy over candidate classes: what all three embedding losses come to.

Per pixel, with z its logits, t its target and O its other candidates:

    loss = -log softmax(z)_t = softplus(log sum_{c in O} exp(z_c) - z_t)

which stays exact where the target wins by far. An engine computes the loss and its gradients together, while
the logits of a few pixels are in cache: nothing of size pixels x classes is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.paths import choose_path
from essnet.losses.plain import plain_loss_sum
from essnet.losses.rows import Rows
from essnet.neighbours import build_index


def candidate_softmax_loss(
    rows: Rows,
    candidates: Candidates,
    *,
    similarity: str,
    backend: str = "auto",
    search: str = "exact",
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return the mean cross-entropy over each pixel's candidates, as a scalar in the rows' dtype.

    `backend` and `search` are those of `build_index`, and mean something where there are neighbours;
    `chunk_bytes` is the budget of the plain engine's chunks.
    """

    def loss_sum(with_gradients: bool) -> LossSum:
        by_distance = similarity == "l2"
        path = choose_path(rows, candidates, backend=backend, search=search)
        if path in ("strips", "tiles"):
            from essnet.losses.fused import strip_loss_sum, tile_loss_sum  # numba takes a second to import

            fused = strip_loss_sum if path == "strips" else tile_loss_sum
            return fused(rows, candidates, by_distance=by_distance, with_gradients=with_gradients)
        index = None
        if path == "search":
            index = build_index(rows.classes, similarity=similarity, backend=backend, search=search)
        return plain_loss_sum(
            rows,
            candidates,
            by_distance=by_distance,
            index=index,
            chunk_bytes=chunk_bytes,
            with_gradients=with_gradients,
        )

    total: Tensor = _CandidateSoftmax.apply(rows.pixels, rows.classes, rows.logit_scale, loss_sum, similarity)
    return total / rows.num_valid


class _CandidateSoftmax(torch.autograd.Function):
    """The sum of the losses of all pixels, with gradients that were computed beside it."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, classes: Tensor, logit_scale: Tensor, loss_sum: Any, similarity: str
    ) -> Tensor:
        result: LossSum = loss_sum(any(ctx.needs_input_grad))
        if result.grad_pixels is not None and result.grad_classes is not None:
            # By Euler's theorem: T e.w has degree 1 in e, so sum g z = sum e . d loss / d e; T ||e - w|| has degree
            # 1 in e and w together. And d loss / d T = sum g z / T.
            grad_scale = None
            if ctx.needs_input_grad[2]:
                products = (pixels * result.grad_pixels).sum(dtype=torch.float64)
                if similarity == "l2":
                    products += (classes * result.grad_classes).sum(dtype=torch.float64)
                grad_scale = (products / logit_scale).to(pixels.dtype)
            ctx.save_for_backward(result.grad_pixels, result.grad_classes, grad_scale)
        return result.total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # The saved gradients are constants to autograd: a second derivative would silently miss them.
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the embedding losses can be differentiated once: call backward without create_graph=True"
            )
        needed = ctx.needs_input_grad[:3]
        gradients = (g * grad_output if n else None for g, n in zip(ctx.saved_tensors, needed, strict=True))
        return (*gradients, None, None)

"""The engine of the embedding losses: cross-entropy over candidate classes, a chunk of pixels at a time.

Per pixel, with z its logits, t its target and O its other candidates (own and shared ones):

    loss = -log softmax(z)_t = softplus(log sum_{c in O} exp(z_c) - z_t)

which stays exact where the target wins by far. The gradients with respect to the embeddings are computed in
the forward pass, while a chunk's logits are in cache: nothing of size pixels x classes is ever kept for the
backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from essnet.losses.own_classes import OwnClasses, OwnDistances, OwnProducts
from essnet.losses.rows import Rows
from essnet.losses.shared_classes import HIDDEN_BELOW, SharedClasses, SharedDistances, SharedProducts
from essnet.neighbours.chunks import default_chunk_bytes, rows_per_chunk

# The default, 20, would cost float64 its last digits: exp(-40) is below its rounding.
SOFTPLUS_IS_LINEAR_FROM = 40.0


@dataclass(frozen=True)
class Candidates:
    """The classes that enter each pixel's softmax."""

    own: Tensor
    """(N, 1 + k) int64: each pixel's target, then classes of its own choice, all distinct."""
    shared: Tensor
    """(R,) int64: distinct classes that enter every pixel's softmax, where they are not among its own."""
    shared_logit_offset: float = 0.0
    """Added to the logits of the shared classes."""


def candidate_softmax_loss(
    rows: Rows, candidates: Candidates, *, similarity: str, chunk_bytes: int | None = None
) -> Tensor:
    """Return the mean cross-entropy over each pixel's candidates, as a scalar in the rows' dtype."""
    inputs = (rows.pixels, rows.classes, rows.logit_scale)
    with_gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    budget = default_chunk_bytes(rows.pixels.device) if chunk_bytes is None else chunk_bytes
    total: Tensor = _CandidateSoftmax.apply(*inputs, candidates, similarity == "l2", budget, with_gradients)
    return total / len(rows.targets)


class _CandidateSoftmax(torch.autograd.Function):
    """Sum of the losses of all pixels."""

    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        classes: Tensor,
        logit_scale: Tensor,
        candidates: Candidates,
        by_distance: bool,
        chunk_bytes: int,
        with_gradients: bool,
    ) -> Tensor:
        scale = float(logit_scale)
        chunk_rows = min(len(pixels), _chunk_rows(pixels, candidates, chunk_bytes))
        own: OwnClasses = OwnDistances(classes, scale) if by_distance else OwnProducts(classes, scale)
        shared: SharedClasses | None = None
        if len(candidates.shared):
            block = classes.index_select(0, candidates.shared)
            kind = SharedDistances if by_distance else SharedProducts
            shared = kind(block, scale, chunk_rows)
        column_of = candidates.shared.new_full((len(classes),), -1)
        column_of[candidates.shared] = torch.arange(len(candidates.shared), device=column_of.device)

        losses = pixels.new_empty(len(pixels))
        grad_pixels = torch.empty_like(pixels) if with_gradients else None
        grad_classes = torch.zeros_like(classes)
        for start in range(0, len(pixels), chunk_rows):
            chunk = slice(start, start + chunk_rows)
            ids = candidates.own[chunk]
            logits = own.logits(pixels[chunk], ids)
            target_logits, terms = logits[:, 0], logits[:, 1:]

            # log of the sum over the other candidates, own and shared, against their largest logit
            peaks = [terms.amax(dim=1)] if terms.shape[1] else []
            if shared is not None:
                columns = column_of[ids]
                row, place = (columns >= 0).nonzero(as_tuple=True)
                largest = shared.peaks(pixels[chunk], (row, columns[row, place]))
                peaks.append(largest.add_(candidates.shared_logit_offset))
            peak = torch.stack(peaks).amax(dim=0).clamp_(min=HIDDEN_BELOW)
            terms = terms.sub_(peak[:, None]).exp_()
            sums = terms.sum(dim=1)
            if shared is not None:
                sums += shared.sums(peak - candidates.shared_logit_offset)
            lead = sums.log().add_(peak).sub_(target_logits)
            losses[chunk] = functional.softplus(lead, threshold=SOFTPLUS_IS_LINEAR_FROM)

            if grad_pixels is not None:
                wrong = lead.sigmoid_()  # the probability of not being the target
                weights = wrong / sums.clamp_(min=torch.finfo(sums.dtype).tiny)  # 0 where no rival is left
                slopes = torch.cat([-wrong[:, None], terms.mul_(weights[:, None])], dim=1)
                grad_chunk = own.gradients(slopes, grad_classes=grad_classes)
                if shared is not None:
                    grad_chunk += shared.gradients(weights)
                grad_pixels[chunk] = grad_chunk

        if grad_pixels is not None:
            if shared is not None:
                grad_classes.index_add_(0, candidates.shared, shared.class_gradients())
            grad_scale = _scale_gradient(
                pixels, classes, grad_pixels, grad_classes, scale, by_distance, wanted=ctx.needs_input_grad[2]
            )
            ctx.save_for_backward(grad_pixels, grad_classes, grad_scale)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # The saved gradients are constants to autograd: a second derivative would silently miss them.
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the embedding losses can be differentiated once: call backward without create_graph=True"
            )
        needed = ctx.needs_input_grad[:3]
        gradients = (g * grad_output if n else None for g, n in zip(ctx.saved_tensors, needed, strict=True))
        return (*gradients, None, None, None, None)


def _chunk_rows(pixels: Tensor, candidates: Candidates, chunk_bytes: int) -> int:
    """Count the two buffers of shared terms and the gathered own embeddings, twice as they are summed."""
    numbers = 2 * len(candidates.shared) + 2 * candidates.own.shape[1] * pixels.shape[1]
    return rows_per_chunk(bytes_per_row=numbers * pixels.element_size(), chunk_bytes=chunk_bytes)


def _scale_gradient(
    pixels: Tensor,
    classes: Tensor,
    grad_pixels: Tensor,
    grad_classes: Tensor,
    scale: float,
    by_distance: bool,
    *,
    wanted: bool,
) -> Tensor | None:
    """Return d loss / d T from the other gradients, by Euler's theorem for homogeneous functions.

    T e.w has degree 1 in e, so sum g z = sum e . d loss / d e; T ||e - w|| has degree 1 in e and w together.
    And d loss / d T = sum g z / T.
    """
    if not wanted:
        return None
    total = (pixels * grad_pixels).sum(dtype=torch.float64)
    if by_distance:
        total += (classes * grad_classes).sum(dtype=torch.float64)
    return (total / scale).to(pixels.dtype)

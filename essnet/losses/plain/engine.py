"""The plain engine: the embedding losses by torch calls, a chunk of pixels at a time, on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from essnet.losses.candidates import Candidates, LossSum
from essnet.losses.other_classes import nearest_other_classes
from essnet.losses.plain.nearest_apart import SharedDistancesNearestApart, num_apart
from essnet.losses.plain.own_classes import OwnClasses, OwnDistances, OwnProducts
from essnet.losses.plain.shared_classes import SharedClasses, SharedDistances, SharedProducts
from essnet.losses.rows import Rows
from essnet.losses.waiting import host_waits_for
from essnet.neighbours import NeighbourIndex
from essnet.neighbours.chunks import default_chunk_bytes, rows_per_chunk

# The default, 20, would cost float64 its last digits: exp(-40) is below its rounding.
SOFTPLUS_IS_LINEAR_FROM = 40.0


@torch.no_grad()
def plain_loss_sum(
    rows: Rows,
    candidates: Candidates,
    *,
    by_distance: bool,
    index: NeighbourIndex | None,
    chunk_bytes: int | None,
    with_gradients: bool,
) -> LossSum:
    """Return the sum of the rows' losses and its gradients.

    With an index, neighbours are sought in it and become a pixel's own classes, with gathered embeddings.
    Without one, all classes are shared, and the nearest of them are kept.
    """
    pixels, classes, scale = rows.pixels.detach(), rows.classes.detach(), rows.logit_scale.detach()
    keeps_nearest = candidates.num_neighbours > 0 and index is None
    shared_ids = torch.arange(len(classes), device=pixels.device) if keeps_nearest else candidates.shared
    shared_classes = classes.index_select(0, shared_ids)
    num_kept = candidates.num_neighbours if keeps_nearest else None
    num_own = 1 if index is None else 1 + candidates.num_neighbours
    apart = 0
    if by_distance and len(shared_ids) and host_waits_for(pixels.device):
        apart = num_apart(dim=classes.shape[1], num_neighbours=num_own - 1, num_kept=num_kept)
    budget = default_chunk_bytes(pixels.device) if chunk_bytes is None else chunk_bytes
    chunk_rows = _chunk_rows(
        num_shared=len(shared_ids), num_gathered=num_own + apart, pixels=pixels, chunk_bytes=budget
    )
    own: OwnClasses = OwnDistances(classes, scale) if by_distance else OwnProducts(classes, scale)
    shared: SharedClasses | None = None
    if apart:
        shared = SharedDistancesNearestApart(
            shared_classes, scale, max_rows=chunk_rows, num_kept=num_kept, num_apart=apart
        )
    elif len(shared_ids):
        kind = SharedDistances if by_distance else SharedProducts
        shared = kind(shared_classes, scale, max_rows=chunk_rows, num_kept=num_kept)
    column_of = shared_ids.new_full((len(classes),), -1)
    column_of[shared_ids] = torch.arange(len(shared_ids), device=column_of.device)

    losses = pixels.new_empty(len(pixels))
    grad_pixels = torch.empty_like(pixels) if with_gradients else None
    grad_classes = torch.zeros_like(classes)
    for start in range(0, len(pixels), chunk_rows):
        chunk = slice(start, start + chunk_rows)
        ids = rows.targets[chunk, None]
        if index is not None:
            neighbours = nearest_other_classes(
                index=index, queries=pixels[chunk], own=rows.targets[chunk], k=candidates.num_neighbours
            )
            ids = torch.cat([ids, neighbours], dim=1)
        logits = own.logits(pixels[chunk], ids)
        target_logits, terms = logits[:, 0], logits[:, 1:]

        # log of the sum over the other candidates, own and shared, against their largest logit; finite where there
        # is none
        peaks = [terms.amax(dim=1)] if terms.shape[1] else []
        if shared is not None:
            columns = column_of[ids]
            peaks.append(shared.peaks(pixels[chunk], columns).add_(candidates.shared_logit_offset))
        peak = torch.stack(peaks).amax(dim=0).clamp_(min=torch.finfo(logits.dtype).min)
        terms = terms.sub_(peak[:, None]).exp_()
        sums = terms.sum(dim=1)
        if shared is not None:
            sums += shared.sums(peak - candidates.shared_logit_offset)
        lead = sums.log().add_(peak).sub_(target_logits)
        losses[chunk] = functional.softplus(lead, threshold=SOFTPLUS_IS_LINEAR_FROM)

        if grad_pixels is not None:
            wrong = lead.sigmoid_()  # the probability of not being the target
            if rows.ignored is not None:
                wrong.masked_fill_(rows.ignored[chunk], 0.0)
            weights = wrong / sums.clamp_(min=torch.finfo(sums.dtype).tiny)  # 0 where no rival is left
            slopes = torch.cat([-wrong[:, None], terms.mul_(weights[:, None])], dim=1)
            grad_chunk = own.gradients(slopes, grad_classes=grad_classes)
            if shared is not None:
                grad_chunk += shared.gradients(weights)
            grad_pixels[chunk] = grad_chunk

    if rows.ignored is not None:
        losses.masked_fill_(rows.ignored, 0.0)
    if grad_pixels is None:
        return LossSum(losses.sum())
    if shared is not None:
        grad_classes.index_add_(0, shared_ids, shared.class_gradients())
    return LossSum(losses.sum(), grad_pixels, grad_classes)


def _chunk_rows(*, num_shared: int, num_gathered: int, pixels: Tensor, chunk_bytes: int) -> int:
    """Count the two buffers of shared terms and the gathered embeddings, twice as they are summed."""
    numbers = 2 * num_shared + 2 * num_gathered * pixels.shape[1]
    bytes_per_row = numbers * pixels.element_size()
    return min(len(pixels), rows_per_chunk(bytes_per_row=bytes_per_row, chunk_bytes=chunk_bytes))

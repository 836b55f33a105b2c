"""A softmax over the target, its nearest rivals, and random classes that stand for all the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from essnet.losses.candidate_softmax import candidate_softmax_loss
from essnet.losses.candidates import Candidates
from essnet.losses.embedding_softmax import exact_softmax_loss
from essnet.losses.rows import valid_rows
from essnet.losses.waiting import assert_on_device, host_waits_for, sent_to


def draw_negatives(
    *, num_classes: int, num_random: int, generator: torch.Generator | None, device: torch.device | str
) -> Tensor:
    """Return min(num_random, num_classes) distinct class ids (R,) int64, uniform, on `device`.

    Drawn on the generator's own device (the CPU without one), so that a seed means the same ids everywhere. A copy
    to a GPU is not waited for.
    """
    if num_classes < 1 or num_random < 0:
        raise ValueError(f"num_classes={num_classes} must be at least 1 and num_random={num_random} at least 0")
    source = torch.device("cpu") if generator is None else generator.device
    return sent_to(torch.randperm(num_classes, generator=generator, device=source)[:num_random], device)


def sampled_softmax_loss(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    num_neighbours: int,
    negatives: Tensor,
    similarity: str = "l2",
    logit_scale: float | Tensor = 20.0,
    backend: str = "auto",
    search: str = "exact",
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return mean_p -log softmax(z_p) at the target, over target, nearest other classes and random
    `negatives`.

    `negatives` (R,) int64 are distinct ids drawn uniformly (`draw_negatives`), shared by all pixels. A
    negative that is a pixel's target or neighbour counts once for it; the others' logits get -log(R / C),
    their log-expected count, so that the sum over all classes that are neither is estimated without bias.
    `num_neighbours` may be 0.

    Other arguments, shapes and errors are those of `embedding_softmax_loss`, which this equals from R = C or
    num_neighbours >= C - 1 on. Also raises ValueError for negatives that are out of range or not distinct,
    and where there is neither neighbour nor negative; on a GPU bad ids fail there. Source of the correction: Jean
    et al., ACL 2015, arXiv 1412.2007; Bengio and Senecal, 2008.
    """
    if num_neighbours < 0:
        raise ValueError(f"num_neighbours={num_neighbours} must be at least 0")
    with torch.autocast(pixel_embeddings.device.type, enabled=False):
        rows = valid_rows(
            pixel_embeddings=pixel_embeddings,
            class_embeddings=class_embeddings,
            targets=targets,
            similarity=similarity,
            logit_scale=logit_scale,
        )
        _check_negatives(negatives, rows.num_classes)
        num_negatives = len(negatives)
        if num_neighbours + num_negatives == 0:
            raise ValueError("num_neighbours=0 and no negatives: a target needs a rival; raise one of the two")
        reaches_all = num_negatives == rows.num_classes or num_neighbours >= rows.num_classes - 1
        if rows.nothing_to_tell_apart or reaches_all:
            return exact_softmax_loss(rows, similarity=similarity, chunk_bytes=chunk_bytes)
        offset = -math.log(num_negatives / rows.num_classes) if num_negatives else 0.0
        candidates = Candidates(num_neighbours=num_neighbours, shared=negatives, shared_logit_offset=offset)
        return candidate_softmax_loss(
            rows, candidates, similarity=similarity, backend=backend, search=search, chunk_bytes=chunk_bytes
        )


def _check_negatives(negatives: Tensor, num_classes: int) -> None:
    if negatives.ndim != 1 or negatives.dtype != torch.int64:
        raise ValueError(f"negatives must be int64 (R,); got {negatives.dtype} of shape {tuple(negatives.shape)}")
    counts = torch.zeros(num_classes, dtype=torch.int64, device=negatives.device)
    outside = (negatives < 0) | (negatives >= num_classes)
    if host_waits_for(negatives.device):
        assert_on_device(~outside.any(), f"negatives hold a class id outside 0..{num_classes - 1}")
        counts.index_add_(0, negatives, torch.ones_like(negatives))
        assert_on_device((counts <= 1).all(), "negatives hold a class id more than once")
        return
    if outside.any():
        raise ValueError(
            f"negatives hold the class id {int(negatives[outside][0])}; ids must lie in 0..{num_classes - 1}"
        )
    counts.index_add_(0, negatives, torch.ones_like(negatives))
    if (counts > 1).any():
        raise ValueError(f"negatives hold the class id {int(counts.argmax())} more than once; they must be distinct")

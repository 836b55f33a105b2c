"""The exact softmax over all class embeddings, never materialised."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.losses.candidate_softmax import candidate_softmax_loss
from essnet.losses.candidates import Candidates
from essnet.losses.rows import Rows, valid_rows


def embedding_softmax_loss(
    *,
    pixel_embeddings: Tensor,
    class_embeddings: Tensor,
    targets: Tensor,
    similarity: str = "l2",
    logit_scale: float | Tensor = 20.0,
    chunk_bytes: int | None = None,
) -> Tensor:
    """Return mean_p -log softmax_c(z_pc) at the target, over valid pixels; 0 where there is none.

    z_pc is -T ||e_p - w_c|| (`l2`), T e_p.w_c (`cosine`) or e_p.w_c (`dot`), with T = logit_scale. Embeddings
    as they meet in the logit: normalising and upsampling are the caller's.

    Shapes: pixel_embeddings (B, D, H, W), class_embeddings (C, D), targets (B, H, W) int64; result scalar,
    float64 for float64 input and float32 otherwise. Memory is O((pixels + C) x D) and a chunk, of `chunk_bytes`
    in the plain engine. Can be differentiated once. Raises ValueError for shapes that do not fit, targets out of
    range and a logit_scale that is not > 0, InputError for an unknown similarity. On a GPU the host waits for
    nothing: ids, and a logit_scale that is a tensor, are checked there (`essnet.losses.waiting`); ignored pixels cost
    what others do; with `l2`, distances beyond a pixel's few nearest are as exact as a float32 matrix product.
    Source: Jain et al., ICCV 2021, arXiv 2012.07489; the loss before its truncation to neighbours.
    """
    with torch.autocast(pixel_embeddings.device.type, enabled=False):
        rows = valid_rows(
            pixel_embeddings=pixel_embeddings,
            class_embeddings=class_embeddings,
            targets=targets,
            similarity=similarity,
            logit_scale=logit_scale,
        )
        return exact_softmax_loss(rows, similarity=similarity, chunk_bytes=chunk_bytes)


def exact_softmax_loss(rows: Rows, *, similarity: str, chunk_bytes: int | None) -> Tensor:
    """Return the exact loss of rows that are checked already."""
    if rows.nothing_to_tell_apart:
        return rows.zero()
    every_class = torch.arange(rows.num_classes, device=rows.targets.device)
    candidates = Candidates(num_neighbours=0, shared=every_class)
    return candidate_softmax_loss(rows, candidates, similarity=similarity, chunk_bytes=chunk_bytes)

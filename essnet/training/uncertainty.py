"""How far each pixel is from the class that it was given: what looks like no class is far from all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from essnet.config.errors import InputError
from essnet.models import EmbeddingOutput, FullSoftmaxOutput
from essnet.models.output_layers import OutputLayer
from essnet.neighbours.chunks import default_chunk_bytes, rows_per_chunk


@dataclass(frozen=True)
class UncertaintyScale:
    """What the uncertainty of an output layer is."""

    caption: str
    most: float
    """A pixel that has this much is like no class at all, and may have more."""


def uncertainty_scale(layer: OutputLayer) -> UncertaintyScale:
    """Return what `uncertainty` gives for this layer.

    Raises
    ------
    InputError
        If it is another package's, and has neither embeddings nor logits.
    """
    if isinstance(layer, EmbeddingOutput) and layer.similarity != "dot":
        return UncertaintyScale("distance to the nearest class embedding", most=math.sqrt(2))  # at right angles
    if not isinstance(layer, EmbeddingOutput | FullSoftmaxOutput):
        raise InputError(
            f"--uncertainty: {type(layer).__name__} derives from neither EmbeddingOutput nor FullSoftmaxOutput; it "
            "does not say how unsure it is"
        )
    return UncertaintyScale("1 - probability of the class", most=1.0)


@torch.no_grad()
def uncertainty(layer: OutputLayer, outputs: Tensor, ids: Tensor) -> Tensor:
    """Return for each pixel how little it is like its class, (B, H, W) float32; 0 is like it.

    For `l2` and `cosine` the Euclidean distance of the pixel's embedding to the class's. For `dot` and the full
    softmax, where a distance says nothing, 1 minus the class's probability among all classes. A pixels x classes
    tensor is held for the full softmax alone, as its prediction does.

    Shapes: outputs (B, K, h, w), ids (B, H, W) int64 as `layer.predict` gave them.
    """
    size = (ids.shape[-2], ids.shape[-1])
    if not isinstance(layer, EmbeddingOutput):
        logits = F.interpolate(outputs.float(), size=size, mode="bilinear", align_corners=False)
        return _doubt(logits.gather(1, ids[:, None])[:, 0], logits.logsumexp(dim=1))
    pixels = layer.comparable_embeddings(outputs, size).permute(0, 2, 3, 1).reshape(-1, outputs.shape[1])
    classes = layer.comparable_class_embeddings()
    own = classes[ids.flatten()]
    if layer.similarity != "dot":
        distances: Tensor = torch.linalg.vector_norm(pixels - own, dim=1)
        return distances.view(ids.shape)
    rows = rows_per_chunk(bytes_per_row=4 * len(classes), chunk_bytes=default_chunk_bytes(classes.device))
    totals = torch.cat([(part @ classes.T).logsumexp(dim=1) for part in torch.split(pixels, rows)])
    return _doubt((pixels * own).sum(dim=1), totals).view(ids.shape)


def _doubt(logit: Tensor, total: Tensor) -> Tensor:
    # Not 1 - exp(...), which is 0 in float32 long before the class is sure.
    return -torch.expm1((logit - total).clamp(max=0))

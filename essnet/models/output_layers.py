"""The two output layers, each with the losses and the prediction that belong to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from essnet.config.errors import InputError
from essnet.losses import (
    draw_negatives,
    embedding_softmax_loss,
    full_softmax_loss,
    knn_softmax_loss,
    margin_regulariser,
    sampled_softmax_loss,
)
from essnet.neighbours import SIMILARITIES, check_worth_it, nearest_class


class FullSoftmaxOutput(nn.Module):
    """One logit per class: the baseline, materialised the way it is ordinarily written.

    Parameters
    ----------
    in_channels
        Channels of the decoder's features.
    num_classes
        C.

    Shape
    -----
    features (B, in_channels, h, w) -> outputs (B, C, h, w)
    """

    def __init__(self, in_channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, num_classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits at the features' size."""
        logits: Tensor = self.convolution(features)
        return logits

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of the upsampled logits; targets (B, H, W), outputs (B, C, h, w)."""
        with torch.autocast(outputs.device.type, enabled=False):
            return full_softmax_loss(logits=_upsample(outputs.float(), targets.shape[-2:]), targets=targets)

    @torch.no_grad()
    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the class with the largest upsampled logit, (B, *size) int64."""
        return _upsample(outputs, size).argmax(dim=1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the layer's parameters, all of which train with the decoder."""
        return {"decoder": list(self.convolution.parameters())}


class EmbeddingOutput(nn.Module):
    """One embedding per pixel, to be compared with one embedding per class (arXiv 2012.07489).

    Parameters
    ----------
    in_channels
        Channels of the decoder's features.
    num_classes, embedding_dim
        C class embeddings of D entries each.
    objective
        `knn_softmax`, `embedding_softmax` or `sampled_softmax`.
    similarity
        `l2` and `cosine` normalise both kinds of embeddings, `dot` neither.
    logit_scale, learn_logit_scale
        T, which multiplies the logits of `l2` and `cosine`; learned as its logarithm, so always positive.
    renormalise
        Normalise pixel embeddings once more after upsampling, which the paper does not.
    num_neighbours, num_random
        Nearest classes, and random ones that the batch shares, in the denominator.
    margin, margin_weight
        Of the regulariser that keeps normalised class embeddings apart; `dot` has none.
    search, search_backend
        `exact` or `approximate`, and the backend of the search for neighbours.

    Shape
    -----
    features (B, in_channels, h, w) -> outputs (B, D, h, w), not yet normalised

    Raises
    ------
    InputError
        If a name is unknown, or an option has no meaning for the similarity.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        num_classes: int,
        embedding_dim: int,
        objective: str,
        similarity: str = "l2",
        logit_scale: float = 20.0,
        learn_logit_scale: bool = False,
        renormalise: bool = False,
        num_neighbours: int = 7,
        num_random: int = 256,
        margin: float = 0.2,
        margin_weight: float = 1.0,
        search: str = "exact",
        search_backend: str = "auto",
    ) -> None:
        super().__init__()
        if objective not in _LOSSES:
            raise InputError(f"objective.name={objective}: embeddings are trained by {', '.join(_LOSSES)}")
        if similarity not in SIMILARITIES:
            raise InputError(f"objective.similarity={similarity}: known are {', '.join(SIMILARITIES)}")
        if similarity == "dot":
            for option, chosen in {
                "learn_logit_scale": learn_logit_scale,
                "renormalise": renormalise,
            }.items():
                if chosen:
                    raise InputError(f"objective.{option}=true: has no meaning for objective.similarity=dot")
        if search == "approximate":
            check_worth_it(num_classes)
        if not 0 < logit_scale < math.inf:
            raise InputError(f"objective.logit_scale={logit_scale}: must be positive and finite")
        self.objective = objective
        self.similarity = similarity
        self.renormalise = renormalise
        self.num_neighbours = num_neighbours
        self.num_random = num_random
        self.margin = margin
        self.margin_weight = margin_weight
        self.search = search
        self.search_backend = search_backend
        self.convolution = nn.Conv2d(in_channels, embedding_dim, kernel_size=1)
        self.class_embeddings = nn.Parameter(torch.empty(num_classes, embedding_dim))
        if similarity == "dot":
            nn.init.normal_(self.class_embeddings, std=embedding_dim**-0.5)
        else:
            nn.init.uniform_(self.class_embeddings, -1.0, 1.0)
        self._constant_logit_scale = logit_scale
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(logit_scale))) if learn_logit_scale else None

    @property
    def logit_scale(self) -> float | Tensor:
        """T: a constant, or a tensor through which gradients flow."""
        return self._constant_logit_scale if self.log_logit_scale is None else self.log_logit_scale.exp()

    def forward(self, features: Tensor) -> Tensor:
        """Return the embeddings at the features' size, not yet normalised."""
        embeddings: Tensor = self.convolution(features)
        return embeddings

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the objective's loss and weighted regulariser; targets (B, H, W), outputs (B, D, h, w)."""
        with torch.autocast(outputs.device.type, enabled=False):
            class_embeddings = self.comparable_class_embeddings()
            loss = _LOSSES[self.objective](
                self, self.comparable_embeddings(outputs, targets.shape[-2:]), class_embeddings, targets
            )
            if self.similarity == "dot" or self.margin_weight == 0:
                return loss
            regulariser = margin_regulariser(class_embeddings=class_embeddings, margin=self.margin)
            return loss + self.margin_weight * regulariser

    @torch.no_grad()
    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the class whose embedding is nearest to the pixel's, (B, *size) int64."""
        with torch.autocast(outputs.device.type, enabled=False):
            return nearest_class(
                pixel_embeddings=self.comparable_embeddings(outputs, size),
                class_embeddings=self.comparable_class_embeddings(),
                similarity=self.similarity,
            )

    def comparable_embeddings(self, outputs: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the pixel embeddings that meet the class embeddings, (B, D, *size) float32."""
        embeddings = outputs.float()
        if self.similarity == "dot":
            return _upsample(embeddings, size)
        embeddings = _upsample(F.normalize(embeddings, dim=1), size)
        return F.normalize(embeddings, dim=1) if self.renormalise else embeddings

    def comparable_class_embeddings(self) -> Tensor:
        """Return the class embeddings that meet the pixel embeddings, (C, D) float32."""
        embeddings = self.class_embeddings.float()
        return embeddings if self.similarity == "dot" else F.normalize(embeddings, dim=1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the class embeddings (and a learned scale) apart from what trains with the decoder."""
        of_classes = [self.class_embeddings]
        if self.log_logit_scale is not None:
            of_classes.append(self.log_logit_scale)
        return {"decoder": list(self.convolution.parameters()), "class_embeddings": of_classes}


OutputLayer: TypeAlias = FullSoftmaxOutput | EmbeddingOutput


def _knn_softmax(layer: EmbeddingOutput, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor) -> Tensor:
    return knn_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=layer.similarity,
        logit_scale=layer.logit_scale,
        num_neighbours=layer.num_neighbours,
        backend=layer.search_backend,
        search=layer.search,
    )


def _embedding_softmax(
    layer: EmbeddingOutput, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor
) -> Tensor:
    return embedding_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=layer.similarity,
        logit_scale=layer.logit_scale,
    )


def _sampled_softmax(
    layer: EmbeddingOutput, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor
) -> Tensor:
    # Without a generator they are drawn on the CPU whatever the device: that global one's state is in every checkpoint.
    negatives = draw_negatives(
        num_classes=len(class_embeddings),
        num_random=layer.num_random,
        generator=None,
        device=class_embeddings.device,
    )
    return sampled_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=layer.similarity,
        logit_scale=layer.logit_scale,
        num_neighbours=layer.num_neighbours,
        negatives=negatives,
        backend=layer.search_backend,
        search=layer.search,
    )


_LOSSES: dict[str, Callable[[EmbeddingOutput, Tensor, Tensor, Tensor], Tensor]] = {
    "knn_softmax": _knn_softmax,
    "embedding_softmax": _embedding_softmax,
    "sampled_softmax": _sampled_softmax,
}


def _upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)

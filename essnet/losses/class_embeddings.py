"""A table of class embeddings with the losses and the prediction that belong to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from essnet.config.errors import InputError
from essnet.losses.embedding_softmax import embedding_softmax_loss
from essnet.losses.knn_softmax import knn_softmax_loss
from essnet.losses.margin import margin_regulariser
from essnet.losses.sampled_softmax import draw_negatives, sampled_softmax_loss
from essnet.losses.upsampling import upsample
from essnet.neighbours import SIMILARITIES, check_worth_it, nearest_class


class ClassEmbeddings(nn.Module):
    """One embedding per class, to be compared with one embedding per pixel (arXiv 2012.07489).

    Parameters and errors are those of `EmbeddingLoss`.
    """

    def __init__(
        self,
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
            return upsample(embeddings, size)
        embeddings = upsample(F.normalize(embeddings, dim=1), size)
        return F.normalize(embeddings, dim=1) if self.renormalise else embeddings

    def comparable_class_embeddings(self) -> Tensor:
        """Return the class embeddings that meet the pixel embeddings, (C, D) float32."""
        embeddings = self.class_embeddings.float()
        return embeddings if self.similarity == "dot" else F.normalize(embeddings, dim=1)


def _knn_softmax(table: ClassEmbeddings, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor) -> Tensor:
    return knn_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=table.similarity,
        logit_scale=table.logit_scale,
        num_neighbours=table.num_neighbours,
        backend=table.search_backend,
        search=table.search,
    )


def _embedding_softmax(
    table: ClassEmbeddings, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor
) -> Tensor:
    return embedding_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=table.similarity,
        logit_scale=table.logit_scale,
    )


def _sampled_softmax(
    table: ClassEmbeddings, pixel_embeddings: Tensor, class_embeddings: Tensor, targets: Tensor
) -> Tensor:
    # Without a generator they are drawn on the CPU whatever the device: that global one's state is in every checkpoint.
    negatives = draw_negatives(
        num_classes=len(class_embeddings),
        num_random=table.num_random,
        generator=None,
        device=class_embeddings.device,
    )
    return sampled_softmax_loss(
        pixel_embeddings=pixel_embeddings,
        class_embeddings=class_embeddings,
        targets=targets,
        similarity=table.similarity,
        logit_scale=table.logit_scale,
        num_neighbours=table.num_neighbours,
        negatives=negatives,
        backend=table.search_backend,
        search=table.search,
    )


_LOSSES: dict[str, Callable[[ClassEmbeddings, Tensor, Tensor, Tensor], Tensor]] = {
    "knn_softmax": _knn_softmax,
    "embedding_softmax": _embedding_softmax,
    "sampled_softmax": _sampled_softmax,
}

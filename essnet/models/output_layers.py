"""What an output layer is, and the two that there are, each with the losses and the prediction that belong to it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from essnet.losses import ClassEmbeddings, full_softmax_loss, upsample


@runtime_checkable
class OutputLayer(Protocol):
    """Output layer and loss of an objective: a module that turns the decoder's features into outputs, and judges them.

    Shape
    -----
    features (B, in_channels, h, w) -> outputs (B, K, h, w), with any K
    """

    def __call__(self, features: Tensor, /) -> Tensor:
        """Return the outputs at the features' size."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a scalar, the mean over the pixels of targets (B, H, W) int64 that are not `IGNORE_INDEX`.

        H and W are those of the images, and larger than those of the outputs.
        """

    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the class of each pixel of an image of `size`, (B, *size) int64."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return each of the layer's parameters once, as `decoder` or `class_embeddings`, which have rates of their
        own."""


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
            return full_softmax_loss(logits=upsample(outputs.float(), targets.shape[-2:]), targets=targets)

    @torch.no_grad()
    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the class with the largest upsampled logit, (B, *size) int64."""
        return upsample(outputs, size).argmax(dim=1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the layer's parameters, all of which train with the decoder."""
        return {"decoder": list(self.convolution.parameters())}


class EmbeddingOutput(ClassEmbeddings):
    """One embedding per pixel, to be compared with one embedding per class (arXiv 2012.07489).

    Parameters
    ----------
    in_channels
        Channels of the decoder's features.
    embedding_dim, options
        As `ClassEmbeddings` takes them.

    Shape
    -----
    features (B, in_channels, h, w) -> outputs (B, D, h, w), not yet normalised

    Raises
    ------
    InputError
        As `ClassEmbeddings` does.
    """

    def __init__(self, in_channels: int, *, embedding_dim: int, **options: Any) -> None:
        # Drawn before the class embeddings: the same seed goes on giving the same network.
        convolution = nn.Conv2d(in_channels, embedding_dim, kernel_size=1)
        super().__init__(embedding_dim=embedding_dim, **options)
        self.convolution = convolution

    def forward(self, features: Tensor) -> Tensor:
        """Return the embeddings at the features' size, not yet normalised."""
        embeddings: Tensor = self.convolution(features)
        return embeddings

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the class embeddings (and a learned scale) apart from what trains with the decoder."""
        of_classes = [self.class_embeddings]
        if self.log_logit_scale is not None:
            of_classes.append(self.log_logit_scale)
        return {"decoder": list(self.convolution.parameters()), "class_embeddings": of_classes}

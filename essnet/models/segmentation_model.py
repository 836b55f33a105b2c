"""The whole network: images in, outputs of the objective's output layer out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from essnet.models.architectures import Network, build_network
from essnet.models.encoders import Normalisation, encoder_normalisation
from essnet.models.output_layers import OutputLayer


class SegmentationModel(nn.Module):
    """An encoder-decoder that normalises its images, with an output layer on the decoder's features.

    Parameters
    ----------
    network
        The encoder-decoder, ending in the decoder's features.
    output_layer
        Turns those features into outputs, and knows their loss and their prediction.
    normalisation
        Mean and standard deviation in units of 0 to 255; they become buffers, and so part of the state dict.
    freeze_encoder
        The encoder's parameters take no gradient, and it stays in evaluation mode, its batch norms' statistics as
        they are, when the model is set to train.

    Shape
    -----
    images (B, 3, H, W), uint8 or floating point from 0 to 255; H and W multiples of `stride_multiple`.
    outputs (B, K, h, w), K and (h, w) as the output layer and the decoder give them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        network: Network,
        output_layer: OutputLayer,
        normalisation: Normalisation,
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.network: Any = network.module
        self.output_layer = output_layer
        self.stride_multiple = network.stride_multiple
        self.minimum_side = network.minimum_side
        self.minimum_batch = network.minimum_batch
        self.register_buffer("mean", torch.tensor(normalisation.mean))
        self.register_buffer("std", torch.tensor(normalisation.std))
        self._encoder_is_frozen = freeze_encoder
        if freeze_encoder:
            # Images take no gradient either, so that autograd keeps nothing of the encoder's work.
            self.network.encoder.requires_grad_(False)
            self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self._encoder_is_frozen:
            self.network.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the output layer's outputs at the decoder's stride.

        Raises
        ------
        ValueError
            If the images' size is not one that the network takes.
        """
        outputs: Tensor = self.output_layer(self.features(images))
        return outputs

    def features(self, images: Tensor) -> Tensor:
        """Return the decoder's features, which the output layer takes: (B, features, h, w).

        Raises
        ------
        ValueError
            If the images' size is not one that the network takes.
        """
        self._check_size(images)
        normalised = (images.to(self.mean.dtype) - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        features: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return features

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return every parameter once: `encoder`, `decoder` and, where there are any, `class_embeddings`.

        A frozen encoder's are left out.
        """
        encoder = list(self.network.encoder.parameters())
        of_encoder = set(map(id, encoder))
        decoder = [parameter for parameter in self.network.parameters() if id(parameter) not in of_encoder]
        groups = self.output_layer.parameter_groups()
        return {"encoder": [] if self._encoder_is_frozen else encoder, **groups, "decoder": decoder + groups["decoder"]}

    def _check_size(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        height, width = images.shape[-2:]
        multiple = self.stride_multiple
        if height % multiple or width % multiple:
            fitting = f"{-(-height // multiple) * multiple} x {-(-width // multiple) * multiple}"
            raise ValueError(
                f"images are {height} x {width}, but the network needs height and width to be multiples of "
                f"{multiple}; pad them to {fitting}"
            )
        if min(height, width) < self.minimum_side:
            raise ValueError(
                f"images are {height} x {width}, but the network needs at least {self.minimum_side} on either side"
            )


def build_segmentation_model(
    *,
    architecture: str,
    encoder: str,
    encoder_weights: str | None,
    output_stride: int | None,
    output_layer: Callable[[int], OutputLayer],
    separable_convolutions: bool | None = None,
    batch_norm_momentum: float | None = None,
    freeze_encoder: bool = False,
    pretrained: bool = True,
) -> SegmentationModel:
    """Build a model from names.

    Parameters
    ----------
    architecture
        An architecture of segmentation-models-pytorch, in any case.
    encoder
        An encoder of segmentation-models-pytorch, or `tu-` and the name of a timm model.
    encoder_weights
        `none` or None; `imagenet` (the only one that may download); `package:<name>`; the path of a file.
    output_stride
        Stride of the encoder's last features; None is the architecture's own.
    output_layer
        Makes the output layer from the decoder's number of channels.
    separable_convolutions
        Whether the DeepLabs' ASPP and decoder are depthwise separable; None is the library's choice.
    batch_norm_momentum
        Weight of the newest batch in the statistics of the encoder's batch norms; None is the library's.
    freeze_encoder
        Whether the encoder stays as it is when the model trains.
    pretrained
        False where a checkpoint's weights follow: no weights are read, all else is the same.

    Raises
    ------
    InputError
        If a name is unknown, the choices do not go together, or the weights are missing or another's.
    """
    network = build_network(
        architecture=architecture,
        encoder=encoder,
        encoder_weights=encoder_weights if pretrained else None,
        output_stride=output_stride,
        separable_convolutions=separable_convolutions,
        batch_norm_momentum=batch_norm_momentum,
    )
    return SegmentationModel(
        network=network,
        output_layer=output_layer(network.out_channels),
        normalisation=encoder_normalisation(encoder),
        freeze_encoder=freeze_encoder,
    )

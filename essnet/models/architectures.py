"""The architectures of segmentation-models-pytorch, without their heads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from essnet.config.errors import InputError
from essnet.models.batch_norm import set_batch_norm_momentum
from essnet.models.encoder_weights import construction_arguments, load_encoder_weights
from essnet.models.encoders import TIMM_PREFIX, check_encoder, nearest
from essnet.models.separable import set_separable_convolutions


@dataclass(frozen=True)
class Architecture:
    """What has to be known of an architecture besides its constructor."""

    constructor: Callable[..., nn.Module]
    output_strides: tuple[int, ...] = ()
    """Strides that the encoder can be given, the architecture's own first; empty: there is no choice."""
    side_factor: int = 1
    """Image sides must be a multiple of this many times the encoder's output stride; 0: any side will do."""
    minimum_factor: int = 0
    """Image sides must be at least this many times the encoder's output stride."""
    minimum_batch: int = 1
    """Images of a training batch: 2 where an image is pooled to one pixel, of which no variance can be taken."""
    separable_choice: bool = False
    """Whether `separable_convolutions` may be chosen: it names the DeepLabs' ASPP and decoder."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the constructor."""


ARCHITECTURES = {
    "unet": Architecture(smp.Unet, side_factor=0),
    "unetplusplus": Architecture(smp.UnetPlusPlus),
    "manet": Architecture(smp.MAnet),
    "linknet": Architecture(smp.Linknet),
    "fpn": Architecture(smp.FPN),
    "pspnet": Architecture(smp.PSPNet),
    "deeplabv3": Architecture(smp.DeepLabV3, output_strides=(8, 16), minimum_batch=2, separable_choice=True),
    "deeplabv3plus": Architecture(smp.DeepLabV3Plus, output_strides=(16, 8), minimum_batch=2, separable_choice=True),
    # Its pyramid attention halves the encoder's last features three times.
    "pan": Architecture(smp.PAN, output_strides=(16, 32), minimum_factor=8, minimum_batch=2),
    "upernet": Architecture(smp.UPerNet, minimum_batch=2),
    "segformer": Architecture(smp.Segformer),
    # Its coarsest map is half the transformer's grid of patches.
    "dpt": Architecture(smp.DPT, side_factor=2, arguments={"dynamic_img_size": True}),
}

# Chen et al., arXiv 1706.05587: the rates that see the same part of the image at either stride.
_ATROUS_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


@dataclass(frozen=True)
class Network:
    """An encoder-decoder whose output is the decoder's features, and what its input must look like."""

    module: nn.Module
    out_channels: int
    stride_multiple: int
    minimum_side: int
    minimum_batch: int


def build_network(
    *,
    architecture: str,
    encoder: str,
    encoder_weights: str | None,
    output_stride: int | None,
    separable_convolutions: bool | None = None,
    batch_norm_momentum: float | None = None,
) -> Network:
    """Build an encoder-decoder that ends in the decoder's features.

    Parameters
    ----------
    architecture
        A key of `ARCHITECTURES`, in any case.
    encoder
        An encoder of segmentation-models-pytorch, or `tu-` and the name of a timm model.
    encoder_weights
        None, `none`, `imagenet`, `package:<name>`, or the path of a file.
    output_stride
        Stride of the encoder's last features; None is the architecture's own.
    separable_convolutions
        Whether the 3 x 3 convolutions of ASPP and decoder are depthwise separable; None is the library's choice.
    batch_norm_momentum
        Weight of the newest batch in the statistics of the encoder's batch norms; None is the library's.

    Raises
    ------
    InputError
        If a name is unknown, the choices do not go together, or the weights are not the encoder's.
    """
    key = architecture.lower()
    if key not in ARCHITECTURES:
        near = nearest(key, ARCHITECTURES) or f"; known are {', '.join(ARCHITECTURES)}"
        raise InputError(f"model.architecture={architecture}: unknown architecture{near}")
    check_encoder(encoder)
    known = ARCHITECTURES[key]
    stride = known.output_strides[0] if output_stride is None and known.output_strides else output_stride
    module = _construct(key, encoder, stride, construction_arguments(encoder_weights, encoder=encoder))
    head_convolution = next(part for part in module.segmentation_head.modules() if isinstance(part, nn.Conv2d))
    module.segmentation_head = nn.Identity()
    encoder_stride = int(module.encoder.output_stride)
    if stride is not None and stride != encoder_stride:
        choices = "; ".join(
            f"{name} takes {' or '.join(map(str, sorted(other.output_strides)))}"
            for name, other in ARCHITECTURES.items()
            if other.output_strides
        )
        raise InputError(
            f"model.output_stride={output_stride}: {key} works at its encoder's own stride, "
            f"{encoder_stride}; leave model.output_stride out, or change model.architecture ({choices})"
        )
    load_encoder_weights(module.encoder, encoder_weights, encoder=encoder)
    if separable_convolutions is not None:
        _set_separable(module.decoder, key, separable=separable_convolutions)
    if batch_norm_momentum is not None and not set_batch_norm_momentum(module.encoder, batch_norm_momentum):
        raise InputError(f"model.batch_norm_momentum={batch_norm_momentum}: {encoder} has no batch norms; leave it out")
    return Network(
        module=module,
        out_channels=head_convolution.in_channels,
        stride_multiple=max(1, known.side_factor * encoder_stride),
        minimum_side=known.minimum_factor * encoder_stride,
        minimum_batch=known.minimum_batch,
    )


def _set_separable(decoder: nn.Module, key: str, *, separable: bool) -> None:
    if not ARCHITECTURES[key].separable_choice:
        choices = " or ".join(name for name, other in ARCHITECTURES.items() if other.separable_choice)
        raise InputError(
            f"model.separable_convolutions={str(separable).lower()}: {key} has no atrous pyramid of which it could be "
            f"said; leave it out, or set model.architecture to {choices}"
        )
    set_separable_convolutions(decoder, separable=separable)


def _construct(key: str, encoder: str, stride: int | None, encoder_arguments: Mapping[str, Any]) -> Any:
    known = ARCHITECTURES[key]
    arguments: dict[str, Any] = {"encoder_weights": None, **known.arguments, **encoder_arguments}
    if known.output_strides:
        if stride not in known.output_strides:
            choices = " or ".join(map(str, sorted(known.output_strides)))
            raise InputError(f"model.output_stride={stride}: {key} takes {choices}")
        arguments["encoder_output_stride"] = stride
    if key.startswith("deeplab"):
        arguments["decoder_atrous_rates"] = _ATROUS_RATES[arguments["encoder_output_stride"]]
    if encoder.startswith(TIMM_PREFIX + "swin"):
        # Otherwise these accept images of the size that they were trained at, and no other.
        arguments["strict_img_size"] = False
    try:
        with warnings.catch_warnings():
            # Encoders of the library's own called timm-... work; it would rather see their tu-... twins.
            warnings.filterwarnings("ignore", message=".*encoders are deprecated", category=DeprecationWarning)
            return known.constructor(encoder_name=encoder, classes=1, **arguments)
    except (ValueError, TypeError, KeyError, AssertionError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        at_stride = f" at output stride {stride}" if stride is not None else ""
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"model.encoder={encoder}: does not work with model.architecture={key}{at_stride} ({reason[:200]})"
        ) from error

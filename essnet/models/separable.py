"""Depthwise separable convolutions in place of full ones, and the reverse."""

from __future__ import annotations

from typing import Any

from segmentation_models_pytorch.decoders.deeplabv3.decoder import SeparableConv2d
from torch import nn


def set_separable_convolutions(module: nn.Module, *, separable: bool) -> None:
    """Make every spatial convolution in `module` depthwise separable, or a full one, in place.

    Those that are as asked for already stay; the others are replaced by newly initialised ones. Separable is a
    depthwise k x k convolution and a 1 x 1 convolution after it (Chen et al., arXiv 1802.02611, section 3.1).
    """
    for name, child in list(module.named_children()):
        if isinstance(child, SeparableConv2d):
            if not separable:
                depthwise, pointwise = child
                module.add_module(name, nn.Conv2d(**_shape(depthwise, out_channels=pointwise.out_channels)))
        elif isinstance(child, nn.Conv2d):
            if separable and child.kernel_size != (1, 1):
                module.add_module(name, SeparableConv2d(**_shape(child, out_channels=child.out_channels)))
        else:
            set_separable_convolutions(child, separable=separable)


def _shape(convolution: nn.Conv2d, *, out_channels: int) -> dict[str, Any]:
    return {
        "in_channels": convolution.in_channels,
        "out_channels": out_channels,
        "kernel_size": convolution.kernel_size,
        "stride": convolution.stride,
        "padding": convolution.padding,
        "dilation": convolution.dilation,
        "bias": convolution.bias is not None,
    }

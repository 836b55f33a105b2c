"""Separable convolutions, the batch norms' momentum, and the encoders and strides of the paper."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from essnet.config.errors import InputError
from essnet.models.architectures import Network, build_network

SMALL = "tu-test_resnet"


def network(
    architecture: str = "deeplabv3plus",
    encoder: str = SMALL,
    output_stride: int | None = None,
    separable: bool | None = None,
    momentum: float | None = None,
) -> Network:
    torch.manual_seed(0)
    return build_network(
        architecture=architecture,
        encoder=encoder,
        encoder_weights=None,
        output_stride=output_stride,
        separable_convolutions=separable,
        batch_norm_momentum=momentum,
    )


def spatial_convolutions(module: nn.Module) -> tuple[int, int]:
    """How many are depthwise, and how many full, of the convolutions that see more than one pixel."""
    spatial = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1)]
    depthwise = sum(part.groups == part.in_channels for part in spatial)
    return depthwise, len(spatial) - depthwise


# Three in the ASPP; in deeplabv3plus one after it and one after the joining, in deeplabv3 one after it.
@pytest.mark.parametrize(
    ("architecture", "separable", "expected"),
    [
        ("deeplabv3plus", None, (5, 0)),
        ("deeplabv3plus", True, (5, 0)),
        ("deeplabv3plus", False, (0, 5)),
        ("deeplabv3", None, (0, 4)),
        ("deeplabv3", True, (4, 0)),
        ("deeplabv3", False, (0, 4)),
    ],
)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_separable_convolutions_are_all_or_none(
    architecture: str, separable: bool | None, expected: tuple[int, int], output_stride: int
) -> None:
    default = network(architecture, output_stride=output_stride).module
    built = network(architecture, output_stride=output_stride, separable=separable).module
    assert spatial_convolutions(built.decoder) == expected
    assert spatial_convolutions(built.encoder) == spatial_convolutions(default.encoder)
    # Rates and sizes are those of the library's own network.
    rates = sorted(
        part.dilation[0]
        for part in built.decoder.aspp.modules()
        if isinstance(part, nn.Conv2d) and part.dilation[0] > 1
    )
    assert rates == ([6, 12, 18] if output_stride == 16 else [12, 24, 36])
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert built.eval()(images).shape == default.eval()(images).shape


def test_the_librarys_own_choice_changes_nothing() -> None:
    default, chosen = network().module.state_dict(), network(separable=True).module.state_dict()
    assert default.keys() == chosen.keys()
    assert all(torch.equal(default[name], chosen[name]) for name in default)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("architecture", ["unet", "fpn", "pan", "pspnet"])
def test_architectures_without_the_choice_refuse_it(architecture: str, separable: bool) -> None:
    setting = f"model.separable_convolutions={str(separable).lower()}"
    message = f"^{re.escape(setting)}: {architecture} has no .* to deeplabv3 or deeplabv3plus$"
    with pytest.raises(InputError, match=message) as caught:
        network(architecture, separable=separable)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoder", [SMALL, "mobilenet_v2", "tu-test_efficientnet"])
def test_the_encoders_batch_norms_alone_take_the_momentum(encoder: str) -> None:
    def momenta(module: nn.Module) -> list[float | None]:
        return [part.momentum for part in module.modules() if isinstance(part, nn.BatchNorm2d)]

    default, built = network(encoder=encoder).module, network(encoder=encoder, momentum=0.03).module
    assert set(momenta(built.encoder)) == {0.03}
    assert momenta(built.decoder) == momenta(default.decoder) != []
    assert 0.03 not in momenta(default.encoder)
    # It is what torch means by it: the weight of the newest batch.
    norm = next(part for part in built.encoder.modules() if isinstance(part, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    images = 3 + torch.randn(4, norm.num_features, 5, 5)
    norm.train()(images)
    expected = 0.97 * before + 0.03 * images.mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected)


@pytest.mark.parametrize(("architecture", "encoder"), [("unet", "tu-test_convnext"), ("dpt", "tu-test_vit")])
def test_a_momentum_for_no_batch_norm_is_refused(architecture: str, encoder: str) -> None:
    with pytest.raises(
        InputError, match=rf"^model\.batch_norm_momentum=0\.01: {encoder} has no batch norms; leave it out$"
    ):
        network(architecture, encoder, momentum=0.01)


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "resnet50", "resnet101"])
@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_the_papers_encoders_have_the_stride_that_was_asked_for(encoder: str, output_stride: int) -> None:
    built = network("deeplabv3plus", encoder, output_stride, separable=False, momentum=0.01)
    module = built.module.eval()
    images = torch.randn(1, 3, 64, 128)
    features = module.encoder(images)
    assert built.stride_multiple == output_stride
    assert features[-1].shape[-2:] == (64 // output_stride, 128 // output_stride)
    assert features[2].shape[-2:] == (16, 32)  # what the decoder joins
    assert module(images).shape == (1, built.out_channels, 16, 32)
    # A stage that would have halved the map is dilated instead, so that each filter sees what it saw.
    dilations = {part.dilation for part in module.encoder.modules() if isinstance(part, nn.Conv2d)}
    assert dilations == ({(1, 1), (2, 2)} if output_stride == 16 else {(1, 1), (2, 2), (4, 4)})

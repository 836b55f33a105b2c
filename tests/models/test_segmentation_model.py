"""One contract for every architecture, encoder and objective."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from segmentation_models_pytorch import create_model
from torch import nn

from essnet.config.errors import InputError
from essnet.labels import IGNORE_INDEX
from essnet.models import EmbeddingOutput, FullSoftmaxOutput, SegmentationModel, build_segmentation_model
from essnet.models.architectures import ARCHITECTURES
from essnet.models.encoders import IMAGENET
from essnet.models.output_layers import OutputLayer

NUM_CLASSES = 9
EMBEDDING_DIM = 5
OUTPUT_LAYERS: dict[str, Callable[[int], OutputLayer]] = {
    "full_softmax": partial(FullSoftmaxOutput, num_classes=NUM_CLASSES),
    **{
        objective: partial(
            EmbeddingOutput,
            num_classes=NUM_CLASSES,
            embedding_dim=EMBEDDING_DIM,
            objective=objective,
            num_neighbours=3,
            num_random=4,
            search_backend="torch",
        )
        for objective in ("knn_softmax", "embedding_softmax", "sampled_softmax")
    },
}

# (architecture, encoder, output stride asked for, multiple that sides need, decoder's stride)
NETWORKS = [
    ("deeplabv3plus", "tu-test_resnet", None, 16, 4),
    ("deeplabv3plus", "tu-test_resnet", 8, 8, 4),
    ("deeplabv3plus", "mobilenet_v2", 16, 16, 4),
    ("deeplabv3", "tu-test_efficientnet", None, 8, 8),
    ("deeplabv3", "tu-test_efficientnet", 16, 16, 16),
    ("unet", "tu-test_convnext", None, 1, 1),
    ("unetplusplus", "tu-test_resnet", None, 32, 1),
    ("manet", "tu-test_resnet", 32, 32, 1),
    ("linknet", "tu-test_resnet", None, 32, 1),
    ("fpn", "tu-test_convnext", None, 32, 4),
    ("pspnet", "tu-test_efficientnet", None, 8, 8),
    ("pan", "tu-test_resnet", None, 16, 4),
    ("upernet", "tu-test_convnext", None, 32, 4),
    ("segformer", "mobilenet_v2", None, 32, 4),
    ("dpt", "tu-test_vit", None, 32, 2),
]
SMALL = ("deeplabv3plus", "tu-test_resnet", None, 16, 4)

contract = pytest.mark.parametrize(
    ("network", "objective"),
    [(network, "full_softmax") for network in NETWORKS]
    + [(SMALL, objective) for objective in OUTPUT_LAYERS if objective != "full_softmax"],
    ids=lambda value: "-".join(map(str, value[:3])) if isinstance(value, tuple) else value,
)

Network = tuple[str, str, int | None, int, int]


def build(network: Network = SMALL, objective: str = "full_softmax", seed: int = 0) -> SegmentationModel:
    torch.manual_seed(seed)
    architecture, encoder, output_stride, _, _ = network
    return build_segmentation_model(
        architecture=architecture,
        encoder=encoder,
        encoder_weights=None,
        output_stride=output_stride,
        output_layer=OUTPUT_LAYERS[objective],
    )


def some_images(model: SegmentationModel, batch_size: int = 2) -> torch.Tensor:
    """Return images of the smallest size that is wider than high and not degenerate."""
    multiple = max(model.stride_multiple, 16)
    height = max(64, model.minimum_side)
    return torch.randint(
        0,
        256,
        (batch_size, 3, height, height + multiple),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(1),
    )


def some_targets(images: torch.Tensor) -> torch.Tensor:
    shape = (len(images), *images.shape[-2:])
    targets = torch.randint(0, NUM_CLASSES, shape, generator=torch.Generator().manual_seed(2))
    targets[:, :5] = IGNORE_INDEX
    return targets


def test_every_architecture_is_under_contract() -> None:
    assert {network[0] for network in NETWORKS} == set(ARCHITECTURES)


@contract
def test_shapes(network: Network, objective: str) -> None:
    model = build(network, objective).eval()
    images = some_images(model)
    height, width = images.shape[-2:]
    with torch.no_grad():
        outputs = model(images)
        predictions = model.output_layer.predict(outputs, (height, width))
    channels = NUM_CLASSES if objective == "full_softmax" else EMBEDDING_DIM
    assert model.stride_multiple == network[3]
    assert outputs.shape == (2, channels, height // network[4], width // network[4])
    assert predictions.shape == (2, height, width)
    assert predictions.dtype == torch.int64
    assert 0 <= predictions.min()
    assert predictions.max() < NUM_CLASSES


@contract
def test_loss_reaches_every_group(network: Network, objective: str) -> None:
    model = build(network, objective).train()
    images = some_images(model)
    loss = model.output_layer.loss(model(images), some_targets(images))
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    groups = model.parameter_groups()
    assert next(iter(groups)) == "encoder"
    assert set(groups) == {"encoder", "decoder"} | ({"class_embeddings"} if objective != "full_softmax" else set())
    listed = [parameter for group in groups.values() for parameter in group]
    assert sorted(map(id, listed)) == sorted(map(id, model.parameters()))
    for parameters in groups.values():
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)
    # The first of the encoder's weights: gradients come all the way.
    assert groups["encoder"][0].grad is not None
    # The output layer trains with the decoder.
    convolution = model.output_layer.convolution.weight
    assert any(parameter is convolution for parameter in groups["decoder"])


@contract
def test_state_dict_gives_the_same_predictions(network: Network, objective: str) -> None:
    model, other = build(network, objective, seed=0).eval(), build(network, objective, seed=1).eval()
    images = some_images(model)
    size = (images.shape[-2], images.shape[-1])
    with torch.no_grad():
        before = other(images)
        other.load_state_dict(model.state_dict())
        outputs, restored = model(images), other(images)
        assert not torch.equal(before, outputs)
        assert torch.equal(restored, outputs)
        assert torch.equal(model.output_layer.predict(outputs, size), other.output_layer.predict(restored, size))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: "-".join(map(str, network[:3])))
def test_wrong_size_is_refused_with_one_that_fits(network: Network) -> None:
    model = build(network).eval()
    multiple = model.stride_multiple
    if multiple == 1:
        with torch.no_grad():
            assert model(torch.zeros(1, 3, 67, 90)).shape[-2:] == (67, 90)
        return
    side = 4 * multiple
    with pytest.raises(ValueError, match=f"multiples of {multiple}; pad them to {side} x {side + multiple}$"):
        model(torch.zeros(1, 3, side - 1, side + 1))


def test_too_small_is_refused() -> None:
    model = build(("pan", "tu-test_resnet", None, 16, 4)).eval()
    assert model.minimum_side == 128
    with pytest.raises(ValueError, match="images are 64 x 128, but the network needs at least 128"):
        model(torch.zeros(1, 3, 64, 128))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 4, 64, 64)])
def test_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\)"):
        build()(torch.zeros(shape))


@torch.no_grad()
def test_images_are_normalised_as_the_encoder_expects() -> None:
    model = build(("deeplabv3plus", "mobilenet_v2", 16, 16, 4)).eval()
    images = some_images(model)
    mean, std = torch.tensor(IMAGENET.mean), torch.tensor(IMAGENET.std)
    normalised = (images.permute(0, 2, 3, 1).double() - mean) / std
    by_hand = model.output_layer(model.network(normalised.permute(0, 3, 1, 2).float()))
    torch.testing.assert_close(model(images), by_hand, rtol=1e-4, atol=1e-5)
    assert torch.equal(model(images), model(images.float()))
    assert {"mean", "std"} < model.state_dict().keys()


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["fpn", "unet", "pspnet"])
def test_features_are_those_before_the_librarys_own_head(architecture: str) -> None:
    torch.manual_seed(0)
    whole = create_model(architecture, "tu-test_resnet", encoder_weights=None).eval()
    model = build((architecture, "tu-test_resnet", None, 0, 0)).eval()
    del whole.segmentation_head[1:]
    ours = model.network.state_dict()
    assert ours.keys() == {name for name in whole.state_dict() if not name.startswith("segmentation_head")}
    whole.load_state_dict({**whole.state_dict(), **ours})
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(whole.segmentation_head(model.network(images)), whole(images))


@pytest.mark.parametrize(("output_stride", "rates"), [(16, {6, 12, 18}), (8, {12, 24, 36})])
def test_atrous_rates_follow_the_output_stride(output_stride: int, rates: set[int]) -> None:
    model = build(("deeplabv3plus", "tu-test_resnet", output_stride, 0, 0))
    aspp = model.network.decoder.aspp
    dilations = {part.dilation[0] for part in aspp.modules() if isinstance(part, nn.Conv2d)}
    assert dilations - {1} == rates


def test_names_of_architectures_take_any_case() -> None:
    model = build(("DeepLabV3Plus", "tu-test_resnet", None, 0, 0))
    assert type(model.network).__name__ == "DeepLabV3Plus"


@pytest.mark.parametrize("encoder", ["tu-swin_tiny_patch4_window7_224", "timm-efficientnet-b0"])
def test_particular_encoders_need_no_further_arguments(encoder: str) -> None:
    model = build(("unet", encoder, None, 0, 0)).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 96)).shape[-2:] == (64, 96)


@pytest.mark.parametrize(
    ("architecture", "encoder", "output_stride", "message"),
    [
        ("deeplab", "resnet18", None, r"^model\.architecture=deeplab: unknown .* did you mean deeplabv3"),
        ("zzz", "resnet18", None, "unknown architecture; known are unet, .*deeplabv3plus"),
        ("unet", "resnet5", None, r"^model\.encoder=resnet5: unknown encoder; did you mean resnet50"),
        (
            "unet",
            "tu-test_resnet",
            16,
            r"^model\.output_stride=16: unet works at its encoder's own stride, 32; ",
        ),
        (
            "pspnet",
            "tu-test_resnet",
            16,
            r"^model\.output_stride=16: pspnet works at .* stride, 8; leave .* out",
        ),
        ("deeplabv3plus", "resnet18", 32, r"^model\.output_stride=32: deeplabv3plus takes 8 or 16$"),
        ("pan", "resnet18", 8, r"^model\.output_stride=8: pan takes 16 or 32$"),
        (
            "deeplabv3plus",
            "densenet121",
            None,
            "densenet121: does not work with .*deeplabv3plus at output stride 16",
        ),
        (
            "deeplabv3plus",
            "tu-test_mambaout",
            8,
            "tu-test_mambaout: does not work with .* at output stride 8",
        ),
        ("unet", "tu-test_vit", None, "tu-test_vit: does not work with model.architecture=unet "),
        ("dpt", "resnet18", None, "resnet18: does not work with model.architecture=dpt "),
        ("linknet", "mit_b0", None, "mit_b0: does not work with model.architecture=linknet "),
    ],
)
def test_impossible_choice_is_one_line(
    architecture: str, encoder: str, output_stride: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build((architecture, encoder, output_stride, 0, 0))
    assert "\n" not in str(caught.value)

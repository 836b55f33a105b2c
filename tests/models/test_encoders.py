"""Names of encoders, and the normalisation that belongs to them."""

from __future__ import annotations

import pytest
import timm

from essnet.config.errors import InputError
from essnet.models.encoders import IMAGENET, check_encoder, encoder_normalisation


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "tu-resnet18", "tu-resnet18.a1_in1k", "tu-test_vit"])
def test_known_encoder_is_accepted(name: str) -> None:
    check_encoder(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", r"^model\.encoder=resnet5: unknown encoder; did you mean resnet50, .*\?$"),
        ("tu-resnet5", "did you mean tu-resnet50"),
        ("convnext_tiny", "did you mean tu-convnext_tiny"),
        ("mobilenetv2", "did you mean mobilenet_v2"),
        ("tu-resnet18.nope", "no weights called 'nope'; known are tu-resnet18.a1_in1k"),
        ("", "^model.encoder=: unknown encoder$"),
        ("tu-", "^model.encoder=tu-: unknown encoder"),
        ("zzzzzzzzzz", "^model.encoder=zzzzzzzzzz: unknown encoder$"),
    ],
)
def test_unknown_encoder_gets_the_nearest_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_encoder(name)


def test_normalisation_of_timms_encoders_is_timms() -> None:
    for name in ["resnet18", "tf_efficientnet_lite0", "test_resnet", "vit_tiny_patch16_224", "tresnet_m"]:
        config = timm.get_pretrained_cfg(name)
        normalisation = encoder_normalisation("tu-" + name)
        assert normalisation.mean == pytest.approx([255 * value for value in config.mean])
        assert normalisation.std == pytest.approx([255 * value for value in config.std])


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("resnet50", 123.675, 58.395),
        ("timm-tf_efficientnet_lite0", 127.5, 127.5),
        ("inceptionv4", 127.5, 127.5),
        ("dpn68", 124.0, 59.8802),
    ],
)
def test_normalisation_of_the_librarys_own_encoders(name: str, mean: float, std: float) -> None:
    normalisation = encoder_normalisation(name)
    assert normalisation.mean[0] == pytest.approx(mean)
    assert normalisation.std[0] == pytest.approx(std, abs=1e-3)


def test_imagenets_normalisation_is_the_default() -> None:
    assert encoder_normalisation("mit_b0") == IMAGENET

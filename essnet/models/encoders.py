"""Encoder names, and the image normalisation that an encoder's weights were trained with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import timm
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from essnet.config.errors import InputError

TIMM_PREFIX = "tu-"
"""What segmentation-models-pytorch puts before the name of a timm model."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per colour channel (RGB), for pixel values from 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def _of_unit_range(mean: Iterable[float], std: Iterable[float]) -> Normalisation:
    return Normalisation(tuple(255 * value for value in mean), tuple(255 * value for value in std))


IMAGENET = _of_unit_range((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = _of_unit_range((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_DPN = Normalisation((124.0, 117.0, 104.0), (1 / 0.0167,) * 3)

# segmentation-models-pytorch keeps these figures on the model hub; here they must not cost a download.
# Every encoder of its own whose name starts with none of these was trained with IMAGENET.
_NORMALISATION_BY_PREFIX = {
    "inceptionresnetv2": _HALF,
    "inceptionv4": _HALF,
    "xception": _HALF,
    "timm-tf_efficientnet_lite": _HALF,
    "dpn": _DPN,
}


def encoder_normalisation(encoder: str) -> Normalisation:
    """Return the normalisation that the encoder's published weights expect; ImageNet's where unknown."""
    if encoder.startswith(TIMM_PREFIX):
        config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM_PREFIX))
        if config is None or len(config.mean) != 3:
            return IMAGENET
        return _of_unit_range(config.mean, config.std)
    for prefix, normalisation in _NORMALISATION_BY_PREFIX.items():
        if encoder.startswith(prefix):
            return normalisation
    return IMAGENET


def check_encoder(encoder: str) -> None:
    """Raise InputError, with the nearest names, unless the encoder exists."""
    if encoder in smp_encoders:
        return
    name, _, tag = encoder.removeprefix(TIMM_PREFIX).partition(".")
    if encoder.startswith(TIMM_PREFIX) and name in timm.list_models():
        tagged = timm.list_models(f"{name}.*", pretrained=True)
        if not tag or f"{name}.{tag}" in tagged:
            return
        raise InputError(
            f"model.encoder={encoder}: timm's {name} has no weights called {tag!r}; "
            f"known are {', '.join(TIMM_PREFIX + known for known in tagged) or 'none'}"
        )
    known = [*smp_encoders, *(TIMM_PREFIX + model for model in timm.list_models())]
    raise InputError(f"model.encoder={encoder}: unknown encoder{nearest(encoder, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean a, b, c?` with up to three names, or nothing where none comes near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""

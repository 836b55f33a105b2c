"""Pretrained weights for an encoder: from the hub, from a package, or from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from essnet.config.errors import InputError
from essnet.models.hub_weights import imagenet_arguments
from essnet.models.package_weights import PACKAGE_WEIGHTS, read_package_weights
from essnet.models.tensor_files import load_tensors
from essnet.models.tensor_names import first_few, shape_text

_PACKAGE_PREFIX = "package:"
_FILE_SUFFIXES = (".safetensors", ".pt", ".pth")
_WRAPPERS = frozenset({"module", "network", "model", "encoder", "backbone"})
"""Leading parts of a name that say where an encoder sat, not what the tensor is."""


def construction_arguments(encoder_weights: str | None, *, encoder: str) -> dict[str, Any]:
    """Return the arguments that give a network the hub's weights when it is constructed; may download."""
    return imagenet_arguments(encoder) if encoder_weights == "imagenet" else {}


def load_encoder_weights(module: nn.Module, encoder_weights: str | None, *, encoder: str) -> None:
    """Load weights that come from a package or a file into a constructed encoder.

    Parameters
    ----------
    module
        The encoder.
    encoder_weights
        `package:<name>` or the path of a file; `none`, None and `imagenet` leave nothing to do here.
    encoder
        The encoder's name, for messages.

    Raises
    ------
    InputError
        If the weights cannot be read, or are not this encoder's.
    """
    if encoder_weights in (None, "none", "imagenet"):
        return
    assert encoder_weights is not None
    if encoder_weights.startswith(_PACKAGE_PREFIX):
        tensors = read_package_weights(encoder_weights.removeprefix(_PACKAGE_PREFIX), encoder=encoder)
    else:
        tensors = _read_file(encoder_weights)
    where = f"model.encoder_weights={encoder_weights}"
    mapped = _match(tensors, module.state_dict(), where=where, encoder=encoder)
    # Some encoders override load_state_dict to rename keys; these already have the module's own names.
    nn.Module.load_state_dict(module, mapped)


def _read_file(encoder_weights: str) -> dict[str, Tensor]:
    where = f"model.encoder_weights={encoder_weights}"
    path = Path(os.path.expanduser(encoder_weights))  # leaves a user that does not exist as it is
    if not path.is_file():
        packages = ", ".join(_PACKAGE_PREFIX + name for name in PACKAGE_WEIGHTS)
        raise InputError(f"{where}: no such file; it takes none, imagenet, {packages}, or a file of weights")
    if path.suffix not in _FILE_SUFFIXES:
        raise InputError(f"{where}: expected a file that ends in {', '.join(_FILE_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = load_tensors(path)
    except Exception as error:  # whatever the readers meet in a damaged file
        reason = str(error).strip().partition("\n")[0][:120]
        raise InputError(f"{where}: not a readable file of tensors ({reason})") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = (
        {name: value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise InputError(f"{where}: expected a dictionary of named tensors, found none in it")
    return tensors


def _match(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, where: str, encoder: str
) -> dict[str, Tensor]:
    """Return the tensors under the names of `wanted`, each of which must be there in its shape."""
    by_parts = {_parts(name): name for name in tensors}
    found = {name: by_parts[_parts(name)] for name in wanted if _parts(name) in by_parts}
    # Files from before torch counted batches lack only the counters, which nothing depends on.
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    reshaped = [
        f"{name} is {shape_text(tensors[source])} in the file and {shape_text(wanted[name])} in the encoder"
        for name, source in found.items()
        if tensors[source].shape != wanted[name].shape
    ]
    # A classifier's head is left over by right; a further block in a series that the encoder has is not:
    # every tensor of ResNet-50 is also found, by name and shape, in ResNet-101.
    series = {_series(_parts(name)) for name in wanted} - {None}
    used = set(found.values())
    unexpected = [name for name in tensors if name not in used and _series(_parts(name)) in series]
    problems = {"missing": missing, "unexpected": unexpected, "other shapes": reshaped}
    if any(problems.values()):
        listed = "; ".join(f"{what}: {first_few(names)}" for what, names in problems.items() if names)
        raise InputError(f"{where}: these are not the weights of model.encoder={encoder}: {listed}")
    return {name: tensors[found[name]] if name in found else value for name, value in wanted.items()}


def _parts(name: str) -> tuple[str, ...]:
    """Split a name, less its wrappers, at dots and underscores: timm flattens `stages.0` to `stages_0`."""
    parts = re.split(r"[._]", name)
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        del parts[0]
    return tuple(parts)


def _series(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what stands before the last number: the list of blocks that a tensor's block is a member of."""
    numbered = [position for position, part in enumerate(parts) if part.isdigit()]
    return parts[: numbered[-1]] if numbered else None

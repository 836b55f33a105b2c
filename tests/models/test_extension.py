"""Output layers of other packages: what is refused before training, and what the attempt leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from essnet.config import InputError, ObjectiveConfig, extensions, trial_from_mapping
from essnet.config.extensions import allow
from essnet.models import FullSoftmaxOutput, OutputLayer, build_model
from essnet.models.extension import extension_output_layer
from essnet.training.uncertainty import uncertainty_scale
from essnet.training.views import views_of

IN_CHANNELS, NUM_CLASSES = 5, 3


class Own(nn.Module):
    """The class is the whole number next to the first of two outputs; derives from nothing of ours."""

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(in_channels, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.num_classes = num_classes

    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.convolution(features)
        return outputs

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        places = nn.functional.interpolate(outputs, size=targets.shape[-2:])[:, 0]
        return ((places - targets) ** 2).mean() + torch.rand(())

    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        places = nn.functional.interpolate(outputs, size=size)[:, 0]
        return places.round().long().clamp(0, self.num_classes - 1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"decoder": list(self.convolution.parameters())}


class FlatOutputs(Own):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).flatten(1)


class LossOfEachPixel(Own):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (targets * 1.0).flatten()


class PredictsFloats(Own):
    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.zeros(1, *size)


class PredictsAClassTooMany(Own):
    def predict(self, outputs: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.full((1, *size), self.num_classes)


class UnknownGroup(Own):
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"head": list(self.convolution.parameters())}


class ForgetsParameters(Own):
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"decoder": list(self.convolution.parameters())[1:]}


def path_of(layer: type[nn.Module]) -> str:
    return f"{layer.__module__}:{layer.__qualname__}"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "_allowed", {})
    allow(map(path_of, [Own, *Own.__subclasses__(), FullSoftmaxOutput]))


def made(layer: type[nn.Module]) -> OutputLayer:
    objective = ObjectiveConfig(name=path_of(layer))
    return extension_output_layer(objective, IN_CHANNELS, num_classes=NUM_CLASSES)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (FlatOutputs, r"outputs have shape \(1, 8\) for features \(1, 5, 2, 2\)"),
        (LossOfEachPixel, r"loss\(\) returned torch.float32 \(16,\); expected a scalar"),
        (PredictsFloats, r"predict\(\) returned torch.float32 \(1, 4, 4\); expected torch.int64 \(1, 4, 4\)"),
        (PredictsAClassTooMany, r"predict\(\) returned 3 to 3; expected classes 0 to 2"),
        (UnknownGroup, r"parameter_groups\(\) has head; expected decoder and class_embeddings"),
        (ForgetsParameters, r"parameter_groups\(\) does not have each parameter of the module once"),
    ],
)
def test_a_wrong_layer(layer: type[nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=rf"{layer.__name__} returned {layer.__name__}, whose {message}"):
        made(layer)


def test_trying_it_changes_nothing() -> None:
    torch.manual_seed(3)
    Own(in_channels=IN_CHANNELS, num_classes=NUM_CLASSES)
    expected = torch.rand(4)
    torch.manual_seed(3)
    layer: Any = made(Own)
    assert torch.equal(torch.rand(4), expected)
    assert layer.training
    assert layer.convolution[1].num_batches_tracked == 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in layer.parameters())


def test_what_has_neither_embeddings_nor_logits_says_so() -> None:
    trial = trial_from_mapping(
        {
            "name": "x",
            "data": {"name": "textures", "crop_size": 32},
            "model": {"encoder": "tu-test_resnet"},
            "objective": {"name": path_of(Own)},
        },
        (),
        source="x.yaml",
    )
    model = build_model(model=trial.model, objective=trial.objective, num_classes=NUM_CLASSES)
    views_of(trial, model)
    for option in ("evaluation.flip=true", "evaluation.scales=[1.0, 2.0]", "evaluation.protocol=sliding"):
        several = trial_from_mapping(trial.model_dump(), [option], source="x.yaml")
        with pytest.raises(InputError, match=r"Own derives from neither EmbeddingOutput nor FullSoftmaxOutput; leave"):
            views_of(several, model)
    with pytest.raises(InputError, match="Own derives from neither EmbeddingOutput nor FullSoftmaxOutput; it does not"):
        uncertainty_scale(model.output_layer)


def test_a_built_in_layer_named_as_one_is_one() -> None:
    layer = made(FullSoftmaxOutput)
    assert isinstance(layer, FullSoftmaxOutput)
    assert uncertainty_scale(layer).most == 1

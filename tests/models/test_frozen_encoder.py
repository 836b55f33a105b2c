"""An encoder that stays as it is while the rest trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from essnet.config import ModelConfig, ObjectiveConfig, OptimizerConfig
from essnet.models import SegmentationModel, build_model
from essnet.training.optimization import build_optimizer

NUM_CLASSES = 5


def build(objective: str = "knn_softmax", encoder: str = "tu-test_resnet", freeze: bool = True) -> SegmentationModel:
    torch.manual_seed(0)
    model = build_model(
        model=ModelConfig(encoder=encoder, freeze_encoder=freeze),
        objective=ObjectiveConfig.model_validate({"name": objective, "embedding_dim": 3, "num_neighbours": 2}),
        num_classes=NUM_CLASSES,
    )
    for module in model.modules():  # statistics that the next batch would move
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.uniform_(-1, 1)
    return model


def train(model: SegmentationModel, steps: int = 3) -> None:
    optimizer = build_optimizer(model.parameter_groups(), OptimizerConfig(lr=0.1))
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        model.train()
        images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
        targets = torch.randint(0, NUM_CLASSES, (2, 64, 64), generator=generator)
        optimizer.zero_grad()
        model.output_layer.loss(model(images), targets).backward()
        optimizer.step()
        model.eval()


def changed(model: SegmentationModel, before: dict[str, torch.Tensor]) -> dict[str, bool]:
    return {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("encoder", ["tu-test_resnet", "mobilenet_v2"])
@pytest.mark.parametrize("objective", ["full_softmax", "knn_softmax"])
def test_parameters_and_statistics_of_the_encoder_stay_bit_for_bit(objective: str, encoder: str) -> None:
    model = build(objective, encoder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model)
    after = changed(model, before)
    assert any("running_mean" in name for name in after if name.startswith("network.encoder."))
    assert not [name for name, moved in after.items() if moved and name.startswith("network.encoder.")]
    rest = [name for name in after if not name.startswith(("network.encoder.", "mean", "std"))]
    assert [name for name in rest if not after[name]] == []


def test_without_it_they_move() -> None:
    model = build(freeze=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model)
    moved = [name for name, is_moved in changed(model, before).items() if is_moved]
    assert any(name.startswith("network.encoder.") and "running_mean" in name for name in moved)
    assert any(name.startswith("network.encoder.") and name.endswith("weight") for name in moved)


def test_it_is_in_no_group_and_takes_no_gradient() -> None:
    model = build()
    groups = model.parameter_groups()
    assert groups["encoder"] == []
    listed = {id(parameter) for group in groups.values() for parameter in group}
    encoder = {id(parameter) for parameter in model.network.encoder.parameters()}
    assert not listed & encoder
    assert listed | encoder == {id(parameter) for parameter in model.parameters()}
    train(model, steps=1)
    assert all(parameter.grad is None for parameter in model.network.encoder.parameters())
    optimizer = build_optimizer(groups, OptimizerConfig())
    assert sorted(group["name"] for group in optimizer.param_groups) == ["class_embeddings", "decoder"]


def test_autograd_keeps_nothing_of_its_work() -> None:
    def saved_elements(model: SegmentationModel) -> int:
        kept = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.network.encoder(torch.zeros(2, 3, 64, 64))
        return kept

    assert saved_elements(build(freeze=False).train()) > 0
    model = build().train()
    assert saved_elements(model) == 0
    assert not any(features.requires_grad for features in model.network.encoder(torch.zeros(2, 3, 64, 64)))


def test_modes() -> None:
    model = build()
    assert model.training
    for mode in (True, False, True):
        assert model.train(mode) is model
        assert model.network.decoder.training is model.output_layer.training is model.training is mode
        assert not any(module.training for module in model.network.encoder.modules())

"""What `import essnet` gives to those who take a part of it into a training loop of their own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import essnet
from essnet import IGNORE_INDEX, EmbeddingLoss, knn_softmax_loss

OBJECTIVES = ["knn_softmax", "embedding_softmax", "sampled_softmax"]
STUBS = Path(essnet.__file__).with_suffix(".pyi")


def stripes(num_classes: int) -> tuple[Tensor, Tensor]:
    """Images (4, 3, 16, 16) whose rows have the colour of their class, and targets; a corner is ignored."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(num_classes, 3, generator=generator)
    targets = torch.randint(num_classes, (4, 16, 1), generator=generator).expand(4, 16, 16).clone()
    images = colours[targets].permute(0, 3, 1, 2).contiguous()
    targets[:, :2, :2] = IGNORE_INDEX
    return images, targets


def test_type_checkers_are_told_of_the_same_names() -> None:
    tree = ast.parse(STUBS.read_text(encoding="utf-8"))
    imported = {
        (alias.asname, statement.module)
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert imported == set(essnet._MODULES.items())


@pytest.mark.parametrize("name", essnet.__all__)
def test_every_name_is_there_and_described(name: str) -> None:
    assert getattr(essnet, name) is not None
    assert name in dir(essnet)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'knn_loss'"):
        essnet.knn_loss  # noqa: B018 (asking for it is the test)


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, essnet; print('torch' in sys.modules, essnet.IGNORE_INDEX)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", str(IGNORE_INDEX)]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("similarity", ["l2", "dot"])
def test_a_plain_loop_learns(objective: str, similarity: str) -> None:
    torch.manual_seed(0)
    images, targets = stripes(12)
    network = nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 8, 1))
    criterion = EmbeddingLoss(
        num_classes=12, embedding_dim=8, objective=objective, similarity=similarity, num_neighbours=3, num_random=4
    )
    optimizer = torch.optim.Adam([*network.parameters(), *criterion.parameters()], lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        criterion(network(images), targets).backward()
        optimizer.step()
    predicted = criterion.predict(network(images), size=(16, 16))
    counts = essnet.ConfusionCounts(12)
    counts.update(predicted, targets)
    assert counts.compute()["pixel_accuracy"] > 0.95


def test_the_module_is_the_function_and_the_regulariser() -> None:
    torch.manual_seed(0)
    criterion = EmbeddingLoss(num_classes=6, embedding_dim=4, objective="knn_softmax", num_neighbours=2, margin=1.5)
    _, targets = stripes(6)
    outputs = torch.randn(4, 4, 16, 16)
    classes = nn.functional.normalize(criterion.class_embeddings, dim=1)
    expected = knn_softmax_loss(
        pixel_embeddings=nn.functional.normalize(outputs, dim=1),
        class_embeddings=classes,
        targets=targets,
        num_neighbours=2,
    ) + essnet.margin_regulariser(class_embeddings=classes, margin=1.5)
    assert torch.equal(criterion(outputs, targets), expected)


def test_it_goes_into_smps_own_way_of_training(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    images, targets = stripes(12)
    images = nn.functional.interpolate(images, size=(64, 64))
    # The only change to an ordinary smp script: d channels in place of C, and the loss.
    model = smp.Unet("tu-test_resnet", encoder_weights=None, classes=8)
    criterion = EmbeddingLoss(num_classes=12, embedding_dim=8, objective="embedding_softmax", similarity="dot")
    optimizer = torch.optim.AdamW([*model.parameters(), *criterion.parameters()], lr=1e-2)
    losses = []
    for _ in range(20):
        loss = criterion(model(images), targets)  # labels of another resolution than the network's
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2

    torch.save({"model": model.state_dict(), "criterion": criterion.state_dict()}, tmp_path / "weights.pt")
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)
    again = EmbeddingLoss(num_classes=12, embedding_dim=8, objective="embedding_softmax", similarity="dot")
    again.load_state_dict(saved["criterion"])
    model.eval()
    with torch.no_grad():
        embeddings = model(images)
    assert torch.equal(again.predict(embeddings, size=(16, 16)), criterion.predict(embeddings, size=(16, 16)))

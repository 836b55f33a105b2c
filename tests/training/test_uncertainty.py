from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from essnet.models import EmbeddingOutput
from essnet.models.output_layers import FullSoftmaxOutput
from essnet.training import uncertainty as module
from essnet.training.uncertainty import uncertainty, uncertainty_scale

SIZE = (8, 12)


def embedding_layer(**options: Any) -> EmbeddingOutput:
    torch.manual_seed(1)
    return EmbeddingOutput(4, num_classes=7, embedding_dim=3, objective="embedding_softmax", **options)


def random_outputs(channels: int) -> Tensor:
    return torch.randn((2, channels, 2, 3), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_distance_to_the_nearest_class(similarity: str) -> None:
    layer, outputs = embedding_layer(similarity=similarity), random_outputs(3)
    found = uncertainty(layer, outputs, layer.predict(outputs, SIZE))
    pixels = layer.comparable_embeddings(outputs, SIZE).permute(0, 2, 3, 1)
    distances = torch.cdist(pixels.reshape(-1, 3).double(), layer.comparable_class_embeddings().double())
    torch.testing.assert_close(found.flatten(), distances.min(dim=1).values.float())
    assert uncertainty_scale(layer).caption == "distance to the nearest class embedding"


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_one_minus_probability_where_there_is_no_distance(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "rows_per_chunk", lambda **_: rows)
    layer, outputs = embedding_layer(similarity="dot"), random_outputs(3)
    found = uncertainty(layer, outputs, layer.predict(outputs, SIZE))
    pixels = layer.comparable_embeddings(outputs, SIZE).permute(0, 2, 3, 1)
    probabilities = (pixels.double() @ layer.class_embeddings.double().T).softmax(dim=-1)
    torch.testing.assert_close(found, (1 - probabilities.amax(dim=-1)).float())
    assert uncertainty_scale(layer).caption == "1 - probability of the class"


def test_the_full_softmax() -> None:
    layer, outputs = FullSoftmaxOutput(4, num_classes=7), random_outputs(7)
    found = uncertainty(layer, outputs, layer.predict(outputs, SIZE))
    probabilities = F.interpolate(outputs.double(), size=SIZE, mode="bilinear", align_corners=False).softmax(dim=1)
    torch.testing.assert_close(found, (1 - probabilities.amax(dim=1)).float())
    assert uncertainty_scale(layer).caption == "1 - probability of the class"


def test_a_sure_class_is_not_rounded_to_zero() -> None:
    layer = FullSoftmaxOutput(4, num_classes=2)
    outputs = torch.zeros((1, 2, 1, 1))
    outputs[0, 0] = 30
    assert float(uncertainty(layer, outputs, torch.zeros((1, 1, 1), dtype=torch.int64))) == pytest.approx(
        9.4e-14, rel=0.01
    )

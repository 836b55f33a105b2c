from __future__ import annotations

import pytest
import torch

from essnet.models import EmbeddingOutput, FullSoftmaxOutput
from essnet.training import embedding_statistics as module
from essnet.training.embedding_statistics import embedding_statistics, smallest_distance


def embedding_output(num_classes: int, *, similarity: str = "l2") -> EmbeddingOutput:
    torch.manual_seed(0)
    return EmbeddingOutput(
        4, num_classes=num_classes, embedding_dim=3, objective="embedding_softmax", similarity=similarity
    )


@pytest.mark.parametrize("similarity", ["l2", "dot"])
def test_the_figures_are_those_of_a_naive_look(similarity: str) -> None:
    layer = embedding_output(6, similarity=similarity)
    figures = embedding_statistics(layer, predicted=torch.tensor([0, 3, 0, 1, 2, 9]))
    rows = [row.tolist() for row in layer.class_embeddings.detach()]
    norms = [sum(entry**2 for entry in row) ** 0.5 for row in rows]
    if similarity == "l2":
        rows = [[entry / norm for entry in row] for row, norm in zip(rows, norms, strict=True)]
    smallest = min(
        sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        for index, one in enumerate(rows)
        for other in rows[:index]
    )
    assert figures == pytest.approx(
        {
            "embedding/class_norm_mean": sum(norms) / 6,
            "embedding/class_norm_min": min(norms),
            "embedding/class_norm_max": max(norms),
            "embedding/smallest_class_distance": smallest,
            "embedding/never_nearest_share": 2 / 6,
        },
        rel=1e-5,
    )


def test_collapsed_classes_have_no_distance() -> None:
    layer = embedding_output(5)
    with torch.no_grad():
        layer.class_embeddings[4] = 2 * layer.class_embeddings[1]
    figures = embedding_statistics(layer, predicted=torch.ones(5))
    assert figures["embedding/smallest_class_distance"] == pytest.approx(0, abs=1e-6)
    assert figures["embedding/never_nearest_share"] == 0


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    points = torch.randn(20, 5, generator=torch.Generator().manual_seed(3))
    between = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert float(smallest_distance(points)) == pytest.approx(float(between.min()), rel=1e-5)


def test_one_class_has_no_other_and_logits_have_no_embeddings() -> None:
    figures = embedding_statistics(embedding_output(1), predicted=torch.tensor([4]))
    assert figures.keys() == {f"embedding/class_norm_{name}" for name in ("mean", "min", "max")} | {
        "embedding/never_nearest_share"
    }
    assert embedding_statistics(FullSoftmaxOutput(4, num_classes=3), predicted=torch.zeros(3)) == {}

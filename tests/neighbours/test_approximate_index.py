from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from essnet.config.errors import InputError
from essnet.losses import knn_softmax_loss
from essnet.neighbours import SIMILARITIES, build_index
from essnet.neighbours import approximate_index as module
from essnet.neighbours.approximate_index import APPROXIMATE_FROM_CLASSES

NUM_CLASSES = APPROXIMATE_FROM_CLASSES


def near_classes(num_queries: int, num_classes: int = NUM_CLASSES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    classes = functional.normalize(torch.randn(num_classes, 8, generator=generator))
    chosen = torch.randint(0, num_classes, (num_queries,), generator=generator)
    return functional.normalize(classes[chosen] + 0.1 * torch.randn(num_queries, 8, generator=generator)), classes


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_most_of_the_nearest_are_found(similarity: str) -> None:
    queries, classes = near_classes(300)
    exact = build_index(classes, similarity=similarity).search(queries, 8)
    found = build_index(classes, similarity=similarity, search="approximate").search(queries, 8)
    assert found.shape == (300, 8)
    assert found.dtype == torch.int64
    assert all(len(set(row)) == 8 for row in found.tolist())
    recall = (found[:, :, None] == exact[:, None, :]).any(dim=2).float().mean()
    assert recall > 0.95
    scores = (queries[:, None] * classes[found]).sum(dim=2)  # unit vectors: both similarities rank alike
    assert (scores[:, :-1] >= scores[:, 1:] - 1e-6).all()
    assert build_index(classes, similarity=similarity, search="approximate").search(queries[:0], 3).shape == (0, 3)


def test_short_lists_are_filled_up_with_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "APPROXIMATE_FROM_CLASSES", 10)
    queries, classes = near_classes(20, num_classes=100)
    found = build_index(classes, similarity="l2", search="approximate").search(queries, 60)  # 2 of 10 lists
    assert all(len(set(row)) == 60 for row in found.tolist())
    assert found.min() >= 0
    assert found.max() < 100


def test_a_query_that_is_not_a_number_gets_usable_ids() -> None:
    queries, classes = near_classes(3)
    queries[1] = float("nan")
    found = build_index(classes, similarity="l2", search="approximate").search(queries, 4)
    assert ((found >= 0) & (found < NUM_CLASSES)).all()


def test_a_class_that_is_not_a_number_does_not_end_the_search() -> None:
    queries, classes = near_classes(3)
    classes[7] = float("nan")
    found = build_index(classes, similarity="l2", search="approximate").search(queries, 4)
    assert ((found >= 0) & (found < NUM_CLASSES)).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_loss_is_close_to_the_exact_one(similarity: str) -> None:
    queries, classes = near_classes(64)
    inputs = {
        "pixel_embeddings": queries.t().reshape(1, 8, 8, 8).contiguous(),
        "class_embeddings": classes,
        "targets": torch.randint(0, NUM_CLASSES, (1, 8, 8), generator=torch.Generator().manual_seed(1)),
        "similarity": similarity,
        "num_neighbours": 7,
    }
    exact = knn_softmax_loss(**inputs)
    approximate = knn_softmax_loss(**inputs, search="approximate")
    torch.testing.assert_close(approximate, exact, rtol=1e-2, atol=0)


def test_wrong_choices_are_told() -> None:
    _, classes = near_classes(1, num_classes=40)
    with pytest.raises(
        InputError, match=r"search=approximate: worth it from 50,000 classes on; found 40; choose exact"
    ):
        build_index(classes, similarity="l2", search="approximate")
    with pytest.raises(InputError, match="'torch' searches exactly"):
        build_index(classes, similarity="l2", search="approximate", backend="torch")
    with pytest.raises(InputError, match="search='fuzzy' is unknown; choose one of exact, approximate"):
        build_index(classes, similarity="l2", search="fuzzy")

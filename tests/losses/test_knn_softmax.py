from __future__ import annotations

import pytest
import torch

from essnet.losses import knn_softmax_loss
from essnet.losses.other_classes import nearest_other_classes
from essnet.neighbours import BACKENDS, build_index
from tests.losses.batches import make_batch, run


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_own_class_is_never_among_the_others(backend: str) -> None:
    # on a line, so that everybody's neighbours are plain to see
    classes = torch.tensor([[0.0], [1.0], [3.0], [7.0], [20.0]])
    queries = torch.tensor([[0.1], [0.1], [0.1], [19.0]])
    own = torch.tensor([0, 1, 4, 4])  # nearest, second, farthest, nearest
    index = build_index(classes, similarity="l2", backend=backend)
    found = nearest_other_classes(index=index, queries=queries, own=own, k=2)
    assert [sorted(row) for row in found.tolist()] == [[1, 2], [0, 2], [0, 1], [2, 3]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_class_at_the_same_place_stays(backend: str) -> None:
    classes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    index = build_index(classes, similarity="l2", backend=backend)
    found = nearest_other_classes(index=index, queries=classes, own=torch.arange(3), k=1)
    assert found[:2, 0].tolist() == [1, 0]


@pytest.mark.parametrize("num_neighbours", [0, -1])
def test_a_rival_is_needed(num_neighbours: int) -> None:
    with pytest.raises(ValueError, match=rf"num_neighbours={num_neighbours} must be at least 1"):
        run(knn_softmax_loss, make_batch(), num_neighbours=num_neighbours)


def test_the_index_is_built_once_and_searched_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counting_build(*args: object, **kwargs: object) -> object:
        calls.append("build")
        index = build_index(*args, **kwargs)
        search = index.search
        index.search = lambda *a: (calls.append("search"), search(*a))[1]
        return index

    monkeypatch.setattr("essnet.losses.candidate_softmax.build_index", counting_build)
    batch = make_batch(size=(1, 2, 3), ignored=0.0)
    run(knn_softmax_loss, batch, num_neighbours=3, backend="torch", chunk_bytes=1)
    assert calls == ["build"] + 6 * ["search"]

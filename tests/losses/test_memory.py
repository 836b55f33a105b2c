from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from essnet.losses import margin_regulariser
from essnet.neighbours import SIMILARITIES, nearest_class
from essnet.neighbours.chunks import CPU_CHUNK_BYTES
from tests.losses.batches import LOSSES, make_batch, run


class LargestTensor(TorchDispatchMode):
    """Remembers the largest storage, in bytes, of any tensor made while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.num_bytes = max(self.num_bytes, leaf.untyped_storage().nbytes())
        return result


CHUNK_BYTES = 100_000


@pytest.mark.parametrize("path", ["strips", "tiles", "plain", "plain on a GPU"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_nothing_is_larger_than_the_pixel_embeddings(
    path: str, name: str, similarity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("essnet.losses.paths.MAX_STRIP_CLASSES", math.inf if path == "strips" else -math.inf)
    if path.startswith("plain"):
        monkeypatch.setattr("essnet.losses.paths.fused_can_take", lambda rows: False)
    if path == "plain on a GPU":
        monkeypatch.setattr("essnet.losses.waiting._QUEUEING_DEVICES", ("cpu",))
    num_classes, dim = 900, 16
    batch = make_batch(num_classes=num_classes, dim=dim, size=(1, 64, 64))
    loss, arguments, _ = LOSSES[name]
    with LargestTensor() as largest:
        run(loss, batch, similarity=similarity, chunk_bytes=CHUNK_BYTES, **arguments)
    bytes_of_pixels = 4 * 64 * 64 * dim
    assert largest.num_bytes <= bytes_of_pixels
    assert CHUNK_BYTES < bytes_of_pixels < 4 * 64 * 64 * num_classes / 50


def test_prediction_holds_no_tensor_of_pixels_times_classes() -> None:
    batch = make_batch(num_classes=900, size=(4, 128, 128), dtype=torch.float64)  # searched by torch
    with LargestTensor() as largest:
        nearest_class(
            pixel_embeddings=batch.pixel_embeddings,
            class_embeddings=batch.class_embeddings,
            similarity="l2",
        )
    assert largest.num_bytes <= 5 << 20
    assert 8 * 4 * 128 * 128 * 900 > 400 << 20


def test_regulariser_holds_no_matrix_of_classes() -> None:
    classes = make_batch(num_classes=3000).class_embeddings
    with LargestTensor() as largest:
        margin_regulariser(class_embeddings=classes, backend="torch").backward()
    assert largest.num_bytes <= CPU_CHUNK_BYTES < 4 * 3000 * 3000 / 8

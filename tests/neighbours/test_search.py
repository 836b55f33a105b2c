from __future__ import annotations

import builtins
import subprocess
import sys

import pytest
import torch

from essnet.config.errors import InputError
from essnet.neighbours import BACKENDS, SIMILARITIES, TorchIndex, build_index, nearest_class
from essnet.neighbours.backends import FAISS_FROM_CLASSES, fastest_backend
from essnet.neighbours.faiss_index import FaissIndex
from tests.oracles import all_logits, rows_of


def embeddings(*, num_queries: int = 57, num_classes: int = 41, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    # of different lengths, so that the largest inner product and the smallest distance disagree
    return (
        torch.randn(num_queries, dim, generator=generator),
        torch.randn(num_classes, dim, generator=generator),
    )


def brute_force(queries: torch.Tensor, classes: torch.Tensor, similarity: str, k: int) -> torch.Tensor:
    logits = all_logits(queries.double(), classes.double(), similarity, 1.0)
    return logits.argsort(dim=1, descending=True)[:, :k]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("k", [1, 2, 8, 41])
def test_finds_the_nearest_in_order(backend: str, similarity: str, k: int) -> None:
    queries, classes = embeddings()
    found = build_index(classes, similarity=similarity, backend=backend).search(queries, k)
    assert found.dtype == torch.int64
    assert torch.equal(found, brute_force(queries, classes, similarity, k))


@pytest.mark.parametrize("chunk_bytes", [1, 41 * 4 * 10, 1 << 20])
@pytest.mark.parametrize("k", [1, 3])
def test_torch_chunks_do_not_matter(chunk_bytes: int, k: int) -> None:
    queries, classes = embeddings()
    found = TorchIndex(classes, similarity="l2", chunk_bytes=chunk_bytes).search(queries, k)
    assert torch.equal(found, brute_force(queries, classes, "l2", k))


@pytest.mark.parametrize("backend", BACKENDS)
def test_narrow_strided_and_empty_queries(backend: str) -> None:
    queries, classes = embeddings()
    index = build_index(classes, similarity="l2", backend=backend)
    strided = queries.t().contiguous().t()
    assert torch.equal(index.search(strided, 4), brute_force(queries, classes, "l2", 4))
    half = queries.bfloat16()
    assert torch.equal(index.search(half, 4), brute_force(half, classes, "l2", 4))
    assert index.search(queries[:0], 4).shape == (0, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_that_is_not_finite_gets_usable_ids(backend: str) -> None:
    queries, classes = embeddings()
    queries[4] = float("nan")
    found = build_index(classes, similarity="l2", backend=backend).search(queries, 3)
    assert found.min() >= 0
    assert found.max() < len(classes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [0, 42])
def test_impossible_k(backend: str, k: int) -> None:
    queries, classes = embeddings()
    with pytest.raises(ValueError, match=rf"k={k} neighbours of 41 classes: k must lie in 1\.\.41"):
        build_index(classes, similarity="l2", backend=backend).search(queries, k)


def test_unknown_names_are_answered_with_the_list() -> None:
    _, classes = embeddings()
    with pytest.raises(InputError, match="backend='annoy' is unknown; choose one of auto, faiss, torch"):
        build_index(classes, similarity="l2", backend="annoy")
    with pytest.raises(InputError, match="similarity='l1' is unknown; choose one of l2, cosine, dot"):
        build_index(classes, similarity="l1")
    with pytest.raises(ValueError, match=r"shape \(C, D\)"):
        build_index(classes[0], similarity="l2")
    with pytest.raises(ValueError, match=r"queries must have shape \(N, 5\); got \(2, 4\)"):
        build_index(classes, similarity="l2").search(torch.zeros(2, 4), 1)


def test_auto_takes_faiss_for_many_float32_classes_only() -> None:
    many = torch.zeros(FAISS_FROM_CLASSES, 3)
    assert fastest_backend(many) == "faiss"
    assert fastest_backend(many[1:]) == "torch"
    assert fastest_backend(many.double()) == "torch"
    assert isinstance(build_index(many, similarity="l2"), FaissIndex)


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_faiss(name: str, *args: object, **kwargs: object) -> object:
        if name == "faiss":
            raise ImportError("No module named 'faiss'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_faiss)
    _, classes = embeddings()
    assert isinstance(build_index(classes, similarity="l2"), TorchIndex)
    with pytest.raises(InputError, match=r"needs the package faiss-gpu .* or faiss-cpu"):
        build_index(classes, similarity="l2", backend="faiss")


def test_importing_the_losses_does_not_import_faiss() -> None:
    code = "import sys, essnet.losses, essnet.neighbours; sys.exit('faiss' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("num_classes", [1, 7, 41])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nearest_class_of_each_pixel(similarity: str, num_classes: int, dtype: torch.dtype) -> None:
    _, classes = embeddings(num_classes=num_classes)
    pixels = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(5)).to(dtype)
    for layout in (pixels, pixels.contiguous(memory_format=torch.channels_last)):
        found = nearest_class(pixel_embeddings=layout.requires_grad_(), class_embeddings=classes, similarity=similarity)
        assert torch.equal(found.view(-1, 1), brute_force(rows_of(pixels), classes, similarity, 1))
        assert found.shape == (2, 3, 4)


def test_nearest_class_wants_maps() -> None:
    with pytest.raises(ValueError, match=r"\(B, D, H, W\); got \(3, 5\)"):
        nearest_class(pixel_embeddings=torch.zeros(3, 5), class_embeddings=torch.zeros(2, 5), similarity="l2")

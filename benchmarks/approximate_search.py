"""What an approximate search misses and saves: recall and time against the exact ways, at many classes.

    python benchmarks/approximate_search.py [--num-classes 50000 100000] [--embedding-dim 12] [--queries 8192]

Queries lie near random unit classes, as trained embeddings do. Building the index counts: a training step builds
it anew. The loss row is the whole k-nearest loss, forward and backward, exact in the compiled kernels or with
approximate neighbours.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from essnet.losses import knn_softmax_loss
from essnet.neighbours import SIMILARITIES, build_index

_Result = TypeVar("_Result")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-classes", type=int, nargs="+", default=[50_000, 100_000])
    parser.add_argument("--embedding-dim", type=int, nargs="+", default=[12])
    parser.add_argument("--num-neighbours", type=int, default=7)
    parser.add_argument("--queries", type=int, default=8192)
    parser.add_argument("--noise", type=float, default=0.3, help="length of what is added to a class's embedding")
    parser.add_argument("--similarity", choices=SIMILARITIES, default="l2")
    arguments = parser.parse_args()
    print("classes   dim  recall | search, s: faiss exact  approximate | loss, s: exact  approximate")
    for num_classes in arguments.num_classes:
        for embedding_dim in arguments.embedding_dim:
            queries, classes, targets = near_classes(
                num_queries=arguments.queries,
                num_classes=num_classes,
                embedding_dim=embedding_dim,
                noise=arguments.noise,
            )

            def searched(way: str, queries: Tensor = queries, classes: Tensor = classes) -> Tensor:
                backend = "faiss" if way == "exact" else "auto"
                index = build_index(classes, similarity=arguments.similarity, backend=backend, search=way)
                return index.search(queries, arguments.num_neighbours + 1)

            def loss(way: str, queries: Tensor = queries, classes: Tensor = classes, targets: Tensor = targets) -> None:
                pixels = queries.t().reshape(1, queries.shape[1], len(queries), 1).requires_grad_()
                knn_softmax_loss(
                    pixel_embeddings=pixels,
                    class_embeddings=classes,
                    targets=targets.view(1, -1, 1),
                    num_neighbours=arguments.num_neighbours,
                    similarity=arguments.similarity,
                    search=way,
                ).backward()

            exact, exact_seconds = timed(lambda searched=searched: searched("exact"))
            found, found_seconds = timed(lambda searched=searched: searched("approximate"))
            recall = (found[:, :, None] == exact[:, None, :]).any(dim=2).float().mean()
            _, exact_loss = timed(lambda loss=loss: loss("exact"))
            _, found_loss = timed(lambda loss=loss: loss("approximate"))
            print(
                f"{num_classes:7,d} {embedding_dim:5d} {recall:7.3f} | {exact_seconds:22.2f} {found_seconds:12.2f} | "
                f"{exact_loss:14.2f} {found_loss:12.2f}",
                flush=True,
            )


def near_classes(
    *, num_queries: int, num_classes: int, embedding_dim: int, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit queries (N, D) around random unit classes (C, D), and which class each is near (N,)."""
    generator = torch.Generator().manual_seed(0)
    classes = functional.normalize(torch.randn(num_classes, embedding_dim, generator=generator))
    targets = torch.randint(0, num_classes, (num_queries,), generator=generator)
    offsets = functional.normalize(torch.randn(num_queries, embedding_dim, generator=generator))
    return functional.normalize(classes[targets] + noise * offsets), classes, targets


def timed(work: Callable[[], _Result], rounds: int = 3) -> tuple[_Result, float]:
    """Return the result and the median seconds, after a warm-up."""
    result = work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return result, sorted(seconds)[rounds // 2]


if __name__ == "__main__":
    main()

"""Where the rule in essnet/losses/paths.py comes from: the four ways to the k-nearest loss, side by side.

    python benchmarks/paths.py [--threads 1] [--pixels 32768] [--similarity l2]

The loss alone, forward and backward, without an output layer; rounds interleaved, medians in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from essnet.losses.candidates import Candidates
from essnet.losses.fused import strip_loss_sum, tile_loss_sum
from essnet.losses.plain import plain_loss_sum
from essnet.losses.rows import Rows
from essnet.neighbours import SIMILARITIES, build_index

NUM_CLASSES = (19, 50, 100, 150, 200, 300, 500, 1284)
NUM_NEIGHBOURS = (7, 31)
PATHS = ("dense", "search", "tiles", "strips")
ROUNDS = 7


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pixels", type=int, default=32_768)
    parser.add_argument("--embedding-dim", type=int, default=12)
    parser.add_argument("--similarity", choices=SIMILARITIES, default="l2")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("classes   k" + "".join(f"{name:>9}" for name in PATHS) + "   ms")
    for num_neighbours in NUM_NEIGHBOURS:
        for num_classes in NUM_CLASSES:
            if num_neighbours < num_classes - 1:
                ways = ways_to_the_loss(
                    num_pixels=arguments.pixels,
                    num_classes=num_classes,
                    embedding_dim=arguments.embedding_dim,
                    num_neighbours=num_neighbours,
                    similarity=arguments.similarity,
                )
                medians = interleaved_medians(ways)
                figures = "".join(f"{1e3 * medians[name]:9.1f}" for name in PATHS)
                print(f"{num_classes:7d} {num_neighbours:3d}{figures}", flush=True)


def ways_to_the_loss(
    *, num_pixels: int, num_classes: int, embedding_dim: int, num_neighbours: int, similarity: str
) -> dict[str, Callable[[], object]]:
    """Return the four paths as functions of nothing, on the same random unit embeddings."""
    generator = torch.Generator().manual_seed(0)
    rows = Rows(
        pixels=functional.normalize(torch.randn(num_pixels, embedding_dim, generator=generator)),
        classes=functional.normalize(torch.randn(num_classes, embedding_dim, generator=generator)),
        targets=torch.randint(0, num_classes, (num_pixels,), generator=generator),
        logit_scale=torch.tensor(20.0),
    )
    nearest = Candidates(num_neighbours=num_neighbours, shared=torch.arange(0))
    by_distance = similarity == "l2"

    def plain(searches: bool) -> object:
        index = build_index(rows.classes, similarity=similarity) if searches else None
        return plain_loss_sum(
            rows, nearest, by_distance=by_distance, index=index, chunk_bytes=None, with_gradients=True
        )

    return {
        "dense": lambda: plain(False),
        "search": lambda: plain(True),
        "tiles": lambda: tile_loss_sum(rows, nearest, by_distance=by_distance, with_gradients=True),
        "strips": lambda: strip_loss_sum(rows, nearest, by_distance=by_distance, with_gradients=True),
    }


def interleaved_medians(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each way's median seconds, after a round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + ROUNDS):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured[1:]) for name, measured in seconds.items()}


if __name__ == "__main__":
    main()

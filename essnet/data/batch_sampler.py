"""Which samples a training step sees: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

# First word of every seed, so that no two purposes ever share a random stream; augmentation has 2.
_ORDER_STREAM = 1


class TrainBatchSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (index, draw); draw is the number of the sample since the start of training.

    Each epoch is a permutation of the data set that depends on (seed, epoch) alone. Batches run over the
    epoch's edge, so all are full. With `start_step` the sampler begins with the batch that an uninterrupted
    one yields at that step. Raises ValueError if `length` or `batch_size` is below 1.
    """

    def __init__(self, *, length: int, batch_size: int, seed: int, start_step: int = 0) -> None:
        if length < 1 or batch_size < 1 or start_step < 0 or seed < 0:
            raise ValueError(
                f"length={length} and batch_size={batch_size} must be at least 1, "
                f"start_step={start_step} and seed={seed} at least 0"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start_step = start_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        draw = self.start_step * self.batch_size
        epoch = -1
        while True:
            batch = []
            for _ in range(self.batch_size):
                if draw // self.length != epoch:
                    epoch = draw // self.length
                    order = np.random.default_rng((_ORDER_STREAM, self.seed, epoch)).permutation(self.length)
                batch.append((int(order[draw % self.length]), draw))
                draw += 1
            yield batch

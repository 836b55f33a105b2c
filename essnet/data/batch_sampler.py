"""Which samples a training step sees: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

# First word of every seed, so that no two purposes ever share a random stream; augmentation has 2.
_ORDER_STREAM = 1


class TrainBatchSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (index, draw); draw is the number of the sample since the start of training.

    Each epoch is an order of the data set that depends on (seed, epoch) alone: each item once, or with
    `repeat_factors` (length,) each as often as its factor says on average. Its whole part counts in every epoch,
    and the rest is the chance of one time more, so epochs differ in length (as in detectron2's
    RepeatFactorTrainingSampler). Batches run over the epoch's edge, so all are full. With `start_step` the sampler
    begins with the batch that an uninterrupted one yields at that step.

    Raises ValueError if `length` or `batch_size` is below 1, or the factors are not `length` numbers of at least 1.
    """

    def __init__(
        self,
        *,
        length: int,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        repeat_factors: npt.NDArray[np.float64] | None = None,
    ) -> None:
        if length < 1 or batch_size < 1 or start_step < 0 or seed < 0:
            raise ValueError(
                f"length={length} and batch_size={batch_size} must be at least 1, "
                f"start_step={start_step} and seed={seed} at least 0"
            )
        if repeat_factors is not None and not (repeat_factors.shape == (length,) and (repeat_factors >= 1).all()):
            raise ValueError(f"repeat_factors must be {length} numbers of at least 1")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start_step = start_step
        self.repeat_factors = repeat_factors

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        draw = self.start_step * self.batch_size
        samples = self._samples_from(draw)
        while True:
            batch = []
            for _ in range(self.batch_size):
                batch.append((next(samples), draw))
                draw += 1
            yield batch

    def _samples_from(self, draw: int) -> Iterator[int]:
        epoch, offset = self._epoch_of(draw)
        while True:
            yield from self._order(epoch)[offset:].tolist()
            epoch, offset = epoch + 1, 0

    def _epoch_of(self, draw: int) -> tuple[int, int]:
        """The epoch in which a sample is drawn, and its place there."""
        factors = self.repeat_factors
        if factors is None:
            return divmod(draw, self.length)
        epoch = 0
        while draw >= (length := int(_times(factors, self._generator(epoch)).sum())):
            draw -= length
            epoch += 1
        return epoch, draw

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        generator = self._generator(epoch)
        items = np.arange(self.length)
        if self.repeat_factors is not None:
            items = np.repeat(items, _times(self.repeat_factors, generator))
        return generator.permutation(items)

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng((_ORDER_STREAM, self.seed, epoch))


def _times(factors: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each item occurs in an epoch: what the epoch's generator draws first."""
    whole = np.floor(factors)
    return whole.astype(np.int64) + (generator.random(len(factors)) < factors - whole)

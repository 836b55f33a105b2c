"""How long steps take, between one log line and the next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepTimer:
    """Times an interval of training steps; what lies between `figures` and `restart` does not count."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self.restart()

    def restart(self) -> None:
        """Begin a new interval."""
        self._started = time.perf_counter()
        self._steps = 0
        self._data_seconds = 0.0

    @contextmanager
    def data_wait(self) -> Iterator[None]:
        """Count the time of the block as waiting for data."""
        started = time.perf_counter()
        yield
        self._data_seconds += time.perf_counter() - started

    def add_step(self) -> None:
        """Count a step."""
        self._steps += 1

    def figures(self) -> dict[str, float]:
        """Return `perf/step_ms`, `perf/images_per_s`, `perf/data_wait_ms` of the interval, waiting included."""
        seconds = time.perf_counter() - self._started
        return {
            "perf/step_ms": 1000 * seconds / self._steps,
            "perf/images_per_s": self._batch_size * self._steps / seconds,
            "perf/data_wait_ms": 1000 * self._data_seconds / self._steps,
        }

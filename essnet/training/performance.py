"""The `perf/` figures of a run: how long steps take and wait for data, and how much memory they hold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from essnet.training.memory import PeakMemory


class Performance:
    """Times intervals of training steps, and keeps what a run's summary is made of.

    An interval lies between two log lines; what comes between `end_interval` and `begin_interval` does not
    count.
    """

    def __init__(self, device: torch.device, *, images_per_step: int) -> None:
        self.memory: dict[str, float] = {}
        self._device = device
        self._images_per_step = images_per_step
        self._evaluations: list[float] = []
        self._intervals: list[dict[str, float]] = []
        self.begin()

    def begin(self) -> None:
        """Begin the first interval, and forget the peak memory of what came before."""
        self._peak = PeakMemory(self._device)
        self.begin_interval()

    def begin_interval(self) -> None:
        """Begin an interval."""
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
        """Count a step of the interval."""
        self._steps += 1

    def end_interval(self) -> dict[str, float]:
        """Return `perf/step_ms` (waiting included), `perf/images_per_s` and `perf/data_wait_ms`."""
        seconds = time.perf_counter() - self._started
        self._intervals.append(
            {
                "perf/step_ms": 1000 * seconds / self._steps,
                "perf/images_per_s": self._images_per_step * self._steps / seconds,
                "perf/data_wait_ms": 1000 * self._data_seconds / self._steps,
            }
        )
        return self._intervals[-1]

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Take the time of the block as that of an evaluation."""
        started = time.perf_counter()
        yield
        self._evaluations.append(time.perf_counter() - started)

    def evaluation_figures(self) -> dict[str, float]:
        """Return `perf/evaluation_s` of the last evaluation, and the memory so far."""
        return {"perf/evaluation_s": self._evaluations[-1], **self.memory}

    def note_peak_memory(self) -> None:
        """Set `perf/peak_memory_mib` to the peak so far."""
        before = self.memory.get("perf/peak_memory_mib", 0.0)  # of this run in an earlier process
        self.memory["perf/peak_memory_mib"] = max(self._peak.mib(), before)

    def summary(self) -> dict[str, float]:
        """Return the medians over the run's intervals and evaluations, and its memory."""
        intervals = self._intervals[1:] or self._intervals  # the first interval warms up
        names = intervals[0].keys() if intervals else ()
        medians = {name: statistics.median(interval[name] for interval in intervals) for name in names}
        if self._evaluations:
            medians["perf/evaluation_s"] = statistics.median(self._evaluations)
        return {**medians, **self.memory}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs for the summary of the whole run."""
        return {"intervals": self._intervals, "evaluations": self._evaluations, "memory": self.memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of an earlier process."""
        self._intervals = list(state["intervals"])
        self._evaluations = list(state.get("evaluations", ()))  # checkpoints of earlier versions have none
        self.memory = dict(state["memory"])

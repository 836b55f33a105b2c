"""What is being read at the moment, by which process, and what becomes of a process that is stuck in it, or dies.

A file may never come to its end: on a server that is away, say. A thread looks after that. A process that only loads
data it kills, and the training process, which waits for it, fails with the name of the file. Where the training process
reads by itself it can raise nothing, not even be asked to end: the thread logs the name, hands it to whoever wants a
process's `last_words`, and ends the process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import torch
from torch.utils.data import get_worker_info

PATIENCE_SECONDS = 600.0
"""How long one sample may take to be read: no disk that works needs as much."""
LOOK_SECONDS = 5.0
_GOING_SECONDS = 2.0
_NOTHING = -1
_logger = logging.getLogger(__name__)
_listeners: list[Callable[[str], object]] = []


class LoaderFailed(RuntimeError):
    """A process that loads data is stuck, or gone; the message is one line that names the sample."""


@contextmanager
def last_words(hear: Callable[[str], object]) -> Iterator[None]:
    """While the block runs, call `hear` with the sentence that names the sample, before this process is ended."""
    _listeners.append(hear)
    try:
        yield
    finally:
        _listeners.remove(hear)


class ReadingNow:
    """What each process that loads data reads, and since when: shared by all of them.

    Parameters
    ----------
    num_workers
        How many they are; 0: the training process itself.
    describe
        Names an item: its file, where it has one.
    """

    def __init__(self, num_workers: int, *, describe: Callable[[int], str]) -> None:
        self._describe = describe
        self._stuck: str | None = None
        self._looks: dict[tuple[float, float, float], int] = {}
        """How often each of these was seen."""
        self._places = torch.full((max(1, num_workers), 3), _NOTHING, dtype=torch.float64)
        """Of each process its id, the item that it reads, and when that began."""
        if num_workers:
            self._places.share_memory_()  # type: ignore[no-untyped-call]

    @contextmanager
    def reading(self, item: int) -> Iterator[None]:
        """Note what this process reads while the block runs."""
        worker = get_worker_info()
        place = self._places[0 if worker is None else worker.id].numpy()
        place[:] = os.getpid(), item, time.monotonic()
        try:
            yield
        finally:
            place[1] = _NOTHING

    def look(self) -> None:
        """Look for a sample that takes too long, and end the process that reads it; to be called every LOOK_SECONDS.

        Looks are counted, and not seconds: of a process that was suspended for an hour nobody took that long.
        """
        reading = {(process, item, since) for process, item, since in self._places.tolist() if item != _NOTHING}
        self._looks = {one: self._looks.get(one, 0) + 1 for one in reading}
        for (process, item, _), looks in self._looks.items():
            seconds = looks * LOOK_SECONDS
            if seconds < PATIENCE_SECONDS:
                continue
            sentence = (
                f"{self._describe(int(item))}: has been read for {seconds:.0f} s without end; is the disk or the "
                "server there that it lies on?"
            )
            if process == os.getpid():
                _end(sentence)
            self._stuck = sentence
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)

    def who_is_gone(self) -> str | None:
        """Return what is to be said of a process that has ended, or None where there is none."""
        known = {int(process): int(item) for process, item, _ in self._places.tolist() if process != _NOTHING}
        living = {child.pid for child in multiprocessing.active_children()}
        for process, item in known.items():
            if process not in living:
                reading = f" while it read {self._describe(item)}" if item != _NOTHING else ""
                return self._stuck or f"process {process}, which loads data, is gone{reading}; was there enough memory?"
        return None

    def raise_for_who_is_gone(self) -> None:
        """Call this upon an error of torch's DataLoader: it may be any, as connections break.

        Raises
        ------
        LoaderFailed
            If a process that loads data is gone.
        """
        deadline = time.monotonic() + _GOING_SECONDS  # a connection may break a moment before its process is gone
        while time.monotonic() < deadline:
            sentence = None
            with suppress(RuntimeError):  # in the main thread torch tells of it at any moment, by a signal
                sentence = self.who_is_gone()
                time.sleep(0.01)
            if sentence is not None:
                raise LoaderFailed(sentence)


def _end(sentence: str) -> NoReturn:
    _logger.error(sentence)
    try:
        for hear in _listeners:
            hear(sentence)
    finally:  # whatever they raise
        os._exit(1)


@contextmanager
def watched(reading: ReadingNow) -> Iterator[None]:
    """Look after what is read while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            reading.look()

    threading.Thread(target=watch, name="loader watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()

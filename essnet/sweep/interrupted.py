"""Telling a sweep's trials that it was interrupted: Ray Tune would wait for their next evaluation, then kill them."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ray.tune import Callback


class Interrupted:
    """A file in a sweep's folder, there from Ctrl-C until the sweep goes on; trials look for it after each step."""

    def __init__(self, sweep: Path) -> None:
        self._path = sweep / "interrupted"

    def note(self) -> None:
        """Tell the trials."""
        self._path.touch()

    def is_noted(self) -> bool:
        """Whether the sweep was interrupted."""
        return self._path.exists()

    def forget(self) -> None:
        """Let the sweep go on."""
        self._path.unlink(missing_ok=True)


class InterruptedCallback(Callback):
    """Tells the trials of a sweep upon SIGINT, beside what Ray Tune does upon it."""

    def __init__(self, sweep_path: Path) -> None:
        self._interrupted = Interrupted(sweep_path)
        self._catches = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Catch the signal, once: Ray Tune has set its own handler by now."""
        if self._catches:
            return
        self._catches = True
        tune_handler = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: FrameType | None) -> None:
            assert callable(tune_handler)
            tune_handler(number, frame)  # which also lets the next one end the process at once
            with suppress(OSError):  # a full disk, say: then Ray Tune kills them
                self._interrupted.note()

        signal.signal(signal.SIGINT, handle)

"""Ctrl-C while trials run: they are told, and not waited for longer than some seconds.

Ray Tune alone would wait for each trial's next evaluation, ten seconds and more, and then kill it.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from ray.experimental import internal_kv
from ray.tune import Callback

WAIT_SECONDS = 4.0
"""How long trials may take to end: a step, and its checkpoint."""
_NAMESPACE = "essnet"


class Interrupted:
    """Whether a sweep was interrupted, from Ctrl-C until it goes on; trials look for it.

    Noted where Ray's own processes find each other: nodes may share no disk, and a disk may show a file late.
    """

    def __init__(self, sweep_id: str) -> None:
        self._key = f"interrupted/{sweep_id}"

    def note(self) -> None:
        """Tell the trials."""
        internal_kv._internal_kv_put(self._key, b"", namespace=_NAMESPACE)

    def is_noted(self) -> bool:
        """Whether the sweep was interrupted; False in a process that Ray does not know."""
        return bool(
            internal_kv._internal_kv_initialized() and internal_kv._internal_kv_exists(self._key, namespace=_NAMESPACE)
        )

    def forget(self) -> None:
        """Let the sweep go on."""
        internal_kv._internal_kv_del(self._key, namespace=_NAMESPACE)


class InterruptedCallback(Callback):
    """Tells the trials of a sweep upon SIGINT, beside what Ray Tune does upon it; a second one ends all at once.

    If they do not end in time KeyboardInterrupt is raised in the main thread, as if there had been a second one.
    """

    def __init__(self, sweep_id: str) -> None:
        self.gave_up = False
        """Whether it was raised for that."""
        self._interrupted = Interrupted(sweep_id)
        self._catches = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Catch the signal, once: Ray Tune has set its own handler by now."""
        if self._catches:
            return
        self._catches = True
        tune_handler = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: FrameType | None) -> None:
            assert callable(tune_handler)
            tune_handler(number, frame)
            signal.signal(signal.SIGINT, handle_next)
            for work in (tell, wait):  # not here: Ray's head may be slow to answer
                threading.Thread(target=work, daemon=True).start()

        def handle_next(number: int, frame: FrameType | None) -> None:
            raise KeyboardInterrupt

        def tell() -> None:
            with suppress(Exception):  # Ray's head is gone, say: then nobody is waited for long
                self._interrupted.note()

        def wait() -> None:
            time.sleep(WAIT_SECONDS)
            if signal.getsignal(signal.SIGINT) is handle_next:  # Ray Tune waits still
                self.gave_up = True
                signal.pthread_kill(_main_thread(), signal.SIGINT)

        signal.signal(signal.SIGINT, handle)


def _main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None  # it has begun
    return ident

"""Whether a trial is asked to end, looked at beside its training, which waits for no disk and no server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LOOK_SECONDS = 1.0


@contextmanager
def asked_to_end(look: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Call `look` at once and then each second, while the block runs; the block gets a function with what it said.

    Once it was True it stays so.
    """
    asked, over = threading.Event(), threading.Event()

    def look_once() -> None:
        with suppress(Exception):  # the disk or Ray's head does not answer, say; the next second it may
            if look():
                asked.set()

    def keep_looking() -> None:
        while not over.wait(LOOK_SECONDS) and not asked.is_set():
            look_once()

    look_once()
    threading.Thread(target=keep_looking, name="asked to end", daemon=True).start()
    try:
        yield asked.is_set
    finally:
        over.set()

"""Where the program begins and ends: Ctrl-C is heard at any moment, and never answered with a traceback."""

from __future__ import annotations

import gc
import signal
import sys
import threading

_AGAIN_SECONDS = 0.05


def main() -> None:
    """Run the command line and exit, as `essnet.cli.app.main` does.

    Outside of it, where Python reads modules and clears up, there is nothing to end in order, and an exception would
    be a traceback: SIGINT ends the process.
    """
    during = signal.getsignal(signal.SIGINT)
    outside = signal.SIG_IGN if during is signal.SIG_IGN else signal.SIG_DFL  # a background job may ignore it
    signal.signal(signal.SIGINT, outside)
    from essnet.cli.app import main as run

    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGINT, during)
    try:
        run()
    finally:
        signal.signal(signal.SIGINT, outside)
        gc.freeze()  # Python would look for cycles in all of torch, Ray and MLflow once more: two seconds


def interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Press Ctrl-C again where the first one fell into a finaliser, out of which Python lets no exception come."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    main_thread = threading.main_thread().ident
    assert main_thread is not None  # it has begun
    threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT)).start()

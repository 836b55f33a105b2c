"""Where the program begins and ends: Ctrl-C ends it quietly also before a command runs, and when it is over."""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command line and exit, as `essnet.cli.app.main` does.

    Outside of it, where Python reads modules and clears up, there is nothing to end in order, and an exception would
    be a traceback: SIGINT ends the process.
    """
    during = signal.getsignal(signal.SIGINT)
    outside = signal.SIG_IGN if during is signal.SIG_IGN else signal.SIG_DFL  # a background job may ignore it
    signal.signal(signal.SIGINT, outside)
    from essnet.cli.app import main as run

    signal.signal(signal.SIGINT, during)
    try:
        run()
    finally:
        signal.signal(signal.SIGINT, outside)
        gc.freeze()  # Python would look for cycles in all of torch, Ray and MLflow once more: two seconds

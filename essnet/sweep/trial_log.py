"""What happens in a trial, line by line, in a file of the trial's own."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG_FILE = "log.txt"

_logger = logging.getLogger("essnet.trial")


class _Lines(logging.FileHandler):
    """Lines that the disk does not take, as it is full say, are left out: no reason for a trial to end."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def trial_log(path: Path) -> Iterator[logging.Logger]:
    """Append to `path` what this process logs and warns of while the block runs, and where it was if it crashes.

    A worker runs one trial after another: each gets only its own.
    """
    handler = _Lines(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level_before = _logger.level
    _logger.setLevel(logging.INFO)
    root.addHandler(handler)
    logging.captureWarnings(True)
    faulthandler.enable(file=handler.stream)  # type: ignore[arg-type]  # it is open from the start
    _logger.info("process %d on %s", os.getpid(), platform.node())
    try:
        yield _logger
    except SystemExit:  # how Ray Tune ends a trial that the scheduler stops, or whose sweep is interrupted
        _logger.info("stopped")
        raise
    except BaseException as error:
        _logger.error("%s", type(error).__name__, exc_info=True)
        raise
    finally:
        faulthandler.disable()
        logging.captureWarnings(False)
        root.removeHandler(handler)
        _logger.setLevel(level_before)
        with suppress(OSError):  # what is left of the lines that the disk did not take
            handler.close()

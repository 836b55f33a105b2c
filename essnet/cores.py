"""How many CPU cores there are for this process."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return the number of cores this process may run on; where the system does not say, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

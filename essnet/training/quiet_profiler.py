"""torch's profiler without its own messages."""

from __future__ import annotations

import os
from typing import Any

from torch.profiler import profile


def quiet_profiler(**options: Any) -> profile:
    """Return `torch.profiler.profile(**options)`.

    What it would say itself (of a GPU driver that it did not find) is nothing the user could mend.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    return profile(**options)

"""What long work is given to tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, how much there is in all; 0 where that is not known)."""

ItemProgress: TypeAlias = Callable[[int, int], None]
"""Called with (items done, items in all), by work of one kind."""

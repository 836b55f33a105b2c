"""The one label value that is not a class."""

from __future__ import annotations

IGNORE_INDEX = -1
"""Label of pixels that count neither in a loss nor in a metric. Outside [0, C): with 1,284 classes 255 is a class."""

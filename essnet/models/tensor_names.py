"""Tensors in messages: their shapes, and a few of their names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

_NAMED_AT_MOST = 3


def shape_text(tensor: Tensor) -> str:
    """Return `64x3x7x7`, or `a scalar`."""
    return "x".join(map(str, tensor.shape)) or "a scalar"


def first_few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")

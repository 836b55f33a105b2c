"""Versions of the formats in which essnet keeps things: what a newer essnet wrote is refused, not misread."""

from __future__ import annotations

from essnet import __version__
from essnet.config.errors import InputError


def refuse_newer(what: object, found: object, *, known: int, written_by: object) -> None:
    """Check the format of something that was kept, `what`, against the newest that is `known` here.

    `written_by` is the version of essnet that wrote it, as far as that is noted; None where it is not. Raises
    InputError, which names the version that is needed, for a newer format; and for what is no format.
    """
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise InputError(f"{what}: damaged; its format is {found!r:.80}, expected a whole number from 1")
    if found > known:
        needed = "a newer essnet" if written_by is None else f"essnet {written_by!s:.40} or newer"
        raise InputError(
            f"{what}: has format {found}, and essnet {__version__}, which is here, knows formats up to {known}; "
            f"it needs {needed}"
        )

"""The error that is the user's to mend: one line, exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input: the message is one line: the file or key, what was found, and what would be right."""


def first_line(error: Exception) -> str:
    """Return the first line of what a library says, or else its kind: the other lines show what it worked on."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def named(source: str) -> Iterator[None]:
    """Let the message of an `InputError` from within begin with `source`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from None

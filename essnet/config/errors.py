"""The error that is the user's to mend: one line, exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message is one line: the file or key, what was found, and what would be right."""

"""Text files that come with a data set."""

from __future__ import annotations

from pathlib import Path

from essnet.config.errors import InputError


def read_text(path: Path, *, expected: str) -> str:
    """Read a UTF-8 text, without its byte-order mark.

    Raises InputError, which ends in what is `expected`, if there is no such file or it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; expected {expected}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None

"""Small files that a reader sees whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from essnet.config.errors import InputError

if TYPE_CHECKING:  # every command reads this file, few of them a picture
    from PIL.Image import Image


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in its place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_png(path: Path, picture: Image) -> None:
    """Write a picture atomically, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: picture.save(temporary, format="png"))


def read_json(path: Path) -> Any:
    """Read a JSON file; an empty mapping where there is none. Raises InputError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise InputError(f"{path}: damaged; expected JSON") from None

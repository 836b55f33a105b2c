"""What blocks of the configuration are made of."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(f"found {name!r}; it becomes a folder's name: letters, digits, '.', '_', '-', at most 100")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
"""A name that is a folder's name as well."""


def check_home(path: str) -> str:
    """Refuse a path whose home folder nobody has."""
    if os.path.expanduser(path).startswith("~"):
        raise ValueError(f"found {path!r}; there is no such home folder")
    return path


PathName = Annotated[str, AfterValidator(check_home)]
"""A file or folder; `~` is a home folder."""


def absolute(path: str) -> str:
    """Return a path from the root on; one with an unknown home folder is relative."""
    return str(Path(os.path.expanduser(path)).absolute())


class Block(BaseModel):
    """A block of keys: unknown keys, wrong types, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

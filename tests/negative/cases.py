"""The rows of the negative table, read from `tables/*.yaml`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bad input, and what has to be said of it."""

    id: str
    run: list[str]
    """Command lines, each a test of its own. `{port}` is that of `server`; `@LONG_NAME@` and `@LONG@` are letters."""
    words: list[str] = field(default_factory=list)
    """What the one line on standard error must contain; with code 0, standard output."""
    code: int = 2
    files: dict[str, Any] = field(default_factory=dict)
    """Path -> what `wrong_files` makes there."""
    inside: str = "."
    """Folder in which the command runs."""
    leaves: list[str] = field(default_factory=list)
    """Patterns of what may be there afterwards; nothing, if none is given."""
    server: str | None = None
    """What answers on loopback, as `hostile_servers` names it."""
    environment: dict[str, str] = field(default_factory=dict)
    bound_by_permissions: bool = False
    """Root, too, is held to permissions."""

    @property
    def command_lines(self) -> list[list[str]]:
        """The arguments of each command line."""
        filled = [line.replace("@LONG_NAME@", "x" * 300).replace("@LONG@", "x" * 100_000) for line in self.run]
        return [shlex.split(line) for line in filled]


def read_cases() -> Iterator[Case]:
    """Yield every row of every table."""
    for path in sorted(TABLES.glob("*.yaml")):
        for row in yaml.safe_load(path.read_text(encoding="utf-8")):
            run = row["run"] if isinstance(row["run"], list) else [row["run"]]
            yield Case(**{**row, "run": run, "id": f"{path.stem}-{row['id']}"})

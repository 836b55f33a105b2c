"""What an extension may be called: the import path of code, or the name under which an installed package offers it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint

IMPORT_PATH = "package.module:attribute"
"""The form of a name that is an import path."""

DATA_SETS = "essnet.data_sets"
OBJECTIVES = "essnet.objectives"
SCHEDULERS = "essnet.schedulers"
REPORT_FIGURES = "essnet.report_figures"
"""The groups of entry points that packages may offer."""


def is_import_path(name: object) -> bool:
    """Return whether a name is meant as an import path; nothing that essnet or a package offers has a colon."""
    return isinstance(name, str) and ":" in name


def is_well_formed(name: str) -> bool:
    """Return whether an import path is one: identifiers with dots, a colon, identifiers with dots."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def is_extension(name: object, group: str) -> bool:
    """Return whether a name stands for something of another package: by an import path, or as one offers it."""
    return is_import_path(name) or (isinstance(name, str) and name in installed(group))


def installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return name -> the entry points of that name that installed packages offer in a group; nothing is imported."""
    return _installed(group, tuple(sys.path))


@lru_cache
def _installed(group: str, _: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    # Kept for each state of Python's path: a sweep's points are checked by the thousand.
    found = importlib.metadata.entry_points(group=group)
    return {name: tuple(dict.fromkeys(found.select(name=name))) for name in sorted(found.names)}

"""`key=value` from the command line, and dotted paths into nested mappings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from essnet.config.errors import InputError
from essnet.config.strict_yaml import parse_yaml

_PATH = re.compile(r"[A-Za-z_][\w/-]*(\.[A-Za-z_][\w/-]*)*")


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Turn `["optimizer.lr=1e-3", ...]` into `{"optimizer.lr": 0.001, ...}`; values are YAML.

    Raises
    ------
    InputError
        If an argument is no `key=value`, a key stands twice, or a value is not YAML.
    """
    overrides: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not _PATH.fullmatch(key):
            raise InputError(f"{argument}: expected key=value, for example optimizer.lr=1e-3")
        if touches(key, overrides):
            raise InputError(f"{key}: given twice on the command line")
        overrides[key] = parse_yaml(text, source=argument)
    return overrides


def set_path(mapping: dict[str, Any], path: str, value: Any) -> None:
    """Set `mapping["a"]["b"]` for the path `a.b`, making the mappings on the way.

    Raises
    ------
    InputError
        If something on the way is a value and not a mapping.
    """
    *parents, last = path.split(".")
    for depth, name in enumerate(parents):
        child = mapping.setdefault(name, {})
        if child is None:
            child = mapping[name] = {}
        if not isinstance(child, dict):
            raise InputError(f"{path}: {'.'.join(parents[: depth + 1])} is the value {child!r}, not a block of keys")
        mapping = child
    mapping[last] = deepcopy(value)


def with_overrides(mapping: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `mapping` with every dotted path of `overrides` set.

    Raises
    ------
    InputError
        If something on the way of a path is a value and not a mapping.
    """
    result = deepcopy(dict(mapping))
    for path, value in overrides.items():
        set_path(result, path, value)
    return result


def dotted_paths(mapping: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return `{dotted path: value}` for nested mappings, whose keys may be dotted themselves.

    Raises
    ------
    InputError
        If a path is written twice, once dotted and once nested.
    """
    paths: dict[str, Any] = {}
    for path, value in flatten(mapping):
        if path in paths:
            raise InputError(f"{source}: {path}: written twice, dotted and nested")
        paths[path] = value
    return paths


def touches(path: str, paths: Iterable[str]) -> bool:
    """Return whether one of `paths` is `path`, lies below it, or above it."""
    return any(path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.") for one in paths)


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `(dotted path, value)` for every leaf of nested mappings; an empty mapping is a leaf."""
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value

"""YAML as people mean it: version 1.2 scalars, no duplicate keys, errors with line numbers."""

from __future__ import annotations

import re
from collections.abc import Hashable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from essnet.config.errors import InputError, first_line

MAX_BYTES = 1_000_000
"""Largest configuration file that is read; a file beyond it is not a configuration."""


_MOST_VALUES = 100_000
"""Values of a file with its aliases written out: a kilobyte of them can stand for more than any memory holds."""
_MOST_LEVELS = 50
"""Of blocks and lists in one another."""
_MAX_INT = 2**63 - 1  # what tensors, JSON readers and databases hold
_MAX_INT_DIGITS = 100


class StrictLoader(yaml.SafeLoader):
    """A safe loader with the YAML 1.2 core schema.

    PyYAML speaks YAML 1.1: it reads `1e-4` as a string, `010` as 8, `on` as True, and keeps the last of two
    equal keys without a word. Here `1e-4` is a number, `010` is ten, `on` is a string, and a repeated key is
    an error. Tags (`!!python/...`, `!!set`) and merge keys (`<<`) are refused: nothing here needs them.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node that carries no tag of its own."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types there
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.composer.ComposerError(
                None, None, f"the tag {shown} is not allowed; write the plain value", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dictionary; a key that stands twice is an error."""
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key!r} must be a word, not {type(key).__name__}",
                    key_node.start_mark,
                )
            if key == "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not allowed; write the keys out", key_node.start_mark
                )
            if key in mapping:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


class StrictDumper(yaml.SafeDumper):
    """A safe dumper that quotes strings such as `1e4` or `on`: either version of YAML reads strings again."""


def _represent_str(dumper: StrictDumper, text: str) -> yaml.ScalarNode:
    # Left to itself PyYAML writes the line breaks of Unicode in a way that it reads back as spaces.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


def _construct_map(loader: StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    return loader.construct_mapping(node, deep=True)


def _construct_int(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    base = 0 if text.startswith(("0o", "0x")) else 10
    if len(text) > _MAX_INT_DIGITS or abs(int(text, base)) > _MAX_INT:
        raise yaml.constructor.ConstructorError(
            None, None, f"the number {text[:20]}... is too large; at most {_MAX_INT}", node.start_mark
        )
    return int(text, base)


def _construct_float(loader: StrictLoader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))


_CORE_SCHEMA = [
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
]
# A class attribute of its own: SafeLoader's table, which the whole process shares, stays as it is.
StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _CORE_SCHEMA:
    for _speaker in (StrictLoader, StrictDumper):
        _speaker.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first])
StrictDumper.add_representer(str, _represent_str)
StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_map)
StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)
StrictLoader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse_yaml(text: str, *, source: str) -> Any:
    """Parse one YAML document.

    Raises
    ------
    InputError
        If the text is not YAML; the message names `source` and the line.
    """
    try:
        # StrictLoader derives from SafeLoader: no Python object can be asked for.
        loader = StrictLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{source}{where}: {error.problem or error.context or 'not valid YAML'}") from None
    except RecursionError:
        raise InputError(f"{source}: more than {_MOST_LEVELS} blocks in one another; no configuration has") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source}: not valid YAML ({first_line(error)})") from None


def _check_size(node: yaml.Node) -> None:
    """Refuse more values and levels, with aliases written out, than any configuration has."""
    known: dict[yaml.Node, tuple[int, int]] = {}

    def size_of(node: yaml.Node) -> tuple[int, int]:
        if node in known:
            return known[node]
        known[node] = values, levels = 1, 1  # while at it: one that holds itself is the constructor's to refuse
        if isinstance(node, yaml.CollectionNode):
            pairs = isinstance(node, yaml.MappingNode)
            inner = [size_of(part) for part in (chain(*node.value) if pairs else node.value)]
            values += sum(of_part for of_part, _ in inner)
            levels += max((of_part for _, of_part in inner), default=0)
        if values > _MOST_VALUES or levels > _MOST_LEVELS:
            found = f"{_MOST_VALUES:,} values" if values > _MOST_VALUES else f"{_MOST_LEVELS} blocks in one another"
            raise yaml.composer.ComposerError(
                None, None, f"more than {found}, with aliases written out; no configuration has", node.start_mark
            )
        known[node] = values, levels
        return values, levels

    size_of(node)


def dump_yaml(value: Any) -> str:
    """Return YAML text, keys in their order, that `parse_yaml` reads as the same value."""
    return yaml.dump(value, Dumper=StrictDumper, sort_keys=False, allow_unicode=True)


def load_yaml_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    InputError
        If the file is missing, a folder, too large, not UTF-8, empty, not YAML, or not a mapping.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no file'}; expected a YAML file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes; a configuration has at most {MAX_BYTES}")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; expected YAML") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    content = parse_yaml(text, source=str(path))
    if content is None:
        raise InputError(f"{path}: is empty; expected a YAML mapping")
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping (key: value), found {type(content).__name__}")
    return content

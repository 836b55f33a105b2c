from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from essnet.config import InputError
from essnet.config.strict_yaml import MAX_BYTES, dump_yaml, load_yaml_mapping, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("4E3", 4000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("010", 10),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("9223372036854775807", 2**63 - 1),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("on", "on"),
        ("yes", "yes"),
        ("n", "n"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("NaN", "NaN"),
        ("'1'", "1"),
        ("é 🙂", "é 🙂"),
        ("[1, on]", [1, "on"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", source="t.yaml")["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_yaml(".nan", source="t.yaml"))


def test_anchors_and_aliases_are_read() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x", source="t.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "t.yaml, line 3: the key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 2", "t.yaml, line 3: the key 'b' stands twice"),
        ("a: {b: 1, b: 2}", "t.yaml, line 1: the key 'b' stands twice"),
        ("x: &x {a: 1}\ny:\n  <<: *x", "t.yaml, line 3: merge keys (<<) are not allowed; write the keys out"),
        ("1: 2", "t.yaml, line 1: the key 1 must be a word, not int"),
        ("true: 2", "t.yaml, line 1: the key True must be a word, not bool"),
        ("? [a]\n: 1", "t.yaml, line 1: the key ['a'] must be a word, not list"),
        ("a: 1\n\tb: 2", "t.yaml, line 2: found character '\\t' that cannot start any token"),
        ("---\na: 1\n---\nb: 2", "t.yaml, line 3: but found another document"),
        ("a: *b", "t.yaml, line 1: found undefined alias 'b'"),
        ("a: &a [*a]", "t.yaml, line 1: found unconstructable recursive node"),
        ("a: [1", "t.yaml, line 1: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_faults_are_named_with_their_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_yaml(text, source="t.yaml")
    assert str(error.value) == message


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['touch here']",
        "!!python/name:os.system",
        "!!set {x}",
        "!!binary aGk=",
        "!!timestamp 2024-01-01",
        "!!float 1",
        "!!bool nonsense",
        "!!map [1]",
        "!mine 1",
        "! 1",
    ],
)
def test_tags_are_refused(tagged: str) -> None:
    with pytest.raises(InputError, match=r"^t.yaml, line 2: the tag !.* is not allowed; write the plain value$"):
        parse_yaml(f"a: 1\nb: {tagged}", source="t.yaml")


@pytest.mark.parametrize("text", ["9223372036854775808", "-" + "9" * 40, "9" * 5000, "0x" + "f" * 5000])
def test_numbers_beyond_64_bits_are_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"^t.yaml, line 1: the number .{1,40} is too large; at most 9223372036854775807$"
    ):
        parse_yaml(f"a: {text}", source="t.yaml")


DEEP = "a0: &a0 [1]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 400))
WIDE = "a0: &a0 [1, 2]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 18))


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 51 + "]" * 51, DEEP])
def test_deep_nesting_is_an_error_and_no_crash(text: str) -> None:
    with pytest.raises(InputError, match=r"^t.yaml.*: more than 50 blocks in one another"):
        parse_yaml(text, source="t.yaml")


def test_aliases_count_as_what_they_stand_for() -> None:
    with pytest.raises(InputError, match=r"^t.yaml, line \d+: more than 100,000 values, with aliases written out"):
        parse_yaml(WIDE, source="t.yaml")
    assert parse_yaml("[" * 50 + "]" * 50, source="t.yaml") is not None
    assert len(parse_yaml(f"[{'1, ' * 90_000}]", source="t.yaml")) == 90_000


def test_other_loaders_keep_their_rules() -> None:
    assert yaml.safe_load("on") is True
    assert yaml.safe_load("{a: 1, a: 2}") == {"a": 2}


_texts = (
    st.text()
    | st.from_regex(r"[-+.0-9eExo_:]{1,6}", fullmatch=True)
    | st.sampled_from(["on", "~", "NO", "=", "\x85", "\u2028", " a\n"])
)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | _texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts.filter("<<".__ne__), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back_by_either_version(value: Any) -> None:
    text = dump_yaml({"value": value})
    assert parse_yaml(text, source="t.yaml") == {"value": value}
    assert yaml.safe_load(text) == {"value": value}


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    with contextlib.suppress(InputError):
        parse_yaml(text, source="t.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a YAML mapping"),
        (b"# only a comment\n", "is empty; expected a YAML mapping"),
        (b"- 1\n- 2\n", "expected a mapping (key: value), found list"),
        (b"words", "expected a mapping (key: value), found str"),
        (bytes(range(256)), "not a text file in UTF-8; expected YAML"),
        ("name: é".encode("latin-1"), "not a text file in UTF-8; expected YAML"),
        ("name: a".encode("utf-16"), "not a text file in UTF-8; expected YAML"),
        (b"a: 1 #" + b"x" * MAX_BYTES, f"{MAX_BYTES + 6} bytes; a configuration has at most {MAX_BYTES}"),
    ],
)
def test_files_that_are_no_mapping(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_yaml_mapping(path)
    assert str(error.value) == f"{path}: {message}"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file$"):
        load_yaml_mapping(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match=r"is a folder; expected a YAML file$"):
        load_yaml_mapping(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)$"):
        load_yaml_mapping(tmp_path / ("x" * 300))
    with pytest.raises(InputError, match=r"^/dev/null: is no file; expected a YAML file$"):
        load_yaml_mapping(Path("/dev/null"))


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n")
    assert load_yaml_mapping(path) == {"a": 1, "b": {"c": "x"}}

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from essnet.config import InputError
from essnet.config.overrides import dotted_paths, flatten, parse_overrides, with_overrides


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("optimizer.lr=1e-3", "optimizer.lr", 1e-3),
        ("a=", "a", None),
        ("a=[1, 2]", "a", [1, 2]),
        ("a={b: {c: 1}}", "a", {"b": {"c": 1}}),
        ("a=b=c", "a", "b=c"),
        ("a=http://h:1/x?y=z", "a", "http://h:1/x?y=z"),
        ("a=été 🙂", "a", "été 🙂"),
        ("a='1'", "a", "1"),
        ("a= 1 ", "a", 1),
        ("a=on", "a", "on"),
        ("a-b.c_d=1", "a-b.c_d", 1),
    ],
)
def test_values_are_yaml(argument: str, key: str, value: object) -> None:
    assert parse_overrides([argument]) == {key: value}


@pytest.mark.parametrize("argument", ["a", "", "=1", "a..b=1", ".a=1", "a.=1", "a b=1", "1a=1", "é=1", "--a=1"])
def test_what_is_no_key_value(argument: str) -> None:
    with pytest.raises(InputError) as error:
        parse_overrides([argument])
    assert str(error.value) == f"{argument}: expected key=value, for example optimizer.lr=1e-3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a=1", "a=2"], "a: given twice on the command line"),
        (["a=1", "b=1", "a=1"], "a: given twice on the command line"),
        (["a.b=1", "a={c: 2}"], "a: given twice on the command line"),
        (["a={c: 2}", "a.b=1"], "a.b: given twice on the command line"),
        (["a=[1"], "a=[1, line 1: expected ',' or ']', but got '<stream end>'"),
        (["a={b: 1, b: 2}"], "a={b: 1, b: 2}, line 1: the key 'b' stands twice"),
        (
            ["a=!!python/name:os.system"],
            "a=!!python/name:os.system, line 1: the tag !!python/name:os.system is not allowed; write the plain value",
        ),
    ],
)
def test_faults(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_overrides(arguments)
    assert str(error.value) == message


def test_neighbouring_paths_are_no_repetition() -> None:
    assert parse_overrides(["a.b=1", "a.bc=2", "ab=3"]) == {"a.b": 1, "a.bc": 2, "ab": 3}


def test_overrides_make_blocks_and_leave_the_original_alone() -> None:
    original: dict[str, Any] = {"a": {"b": 1}, "n": None}
    value = [1]
    result = with_overrides(original, {"a.c": value, "n.x": 2, "new.deep.path": 3})
    value.append(2)
    assert result == {"a": {"b": 1, "c": [1]}, "n": {"x": 2}, "new": {"deep": {"path": 3}}}
    assert original == {"a": {"b": 1}, "n": None}


def test_path_through_a_value() -> None:
    with pytest.raises(InputError, match=r"^a\.b\.c: a\.b is the value 'x', not a block of keys$"):
        with_overrides({"a": {"b": "x"}}, {"a.b.c": 1})


def test_dotted_and_nested_are_the_same_path() -> None:
    assert dotted_paths({"a": {"b": 1}, "a.c": 2}, source="t.yaml") == {"a.b": 1, "a.c": 2}
    with pytest.raises(InputError, match=r"^t.yaml: a\.b: written twice, dotted and nested$"):
        dotted_paths({"a": {"b": 1}, "a.b": 2}, source="t.yaml")


_words = st.text("abcdefgh_", min_size=1, max_size=4)
_trees = st.recursive(
    st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(_words, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(_words, _trees, max_size=4))
def test_flatten_and_set_are_inverse(tree: dict[str, Any]) -> None:
    assert with_overrides({}, dict(flatten(tree))) == tree


@settings(deadline=None)
@given(st.dictionaries(_words, _trees, max_size=4))
def test_setting_what_is_there_changes_nothing(tree: dict[str, Any]) -> None:
    assert with_overrides(tree, dict(flatten(tree))) == tree

"""Configurations and overrides as people and machines could write them, most of them wrong somewhere."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

from essnet.config.overrides import flatten, with_overrides
from essnet.config.sweep import SweepConfig
from essnet.config.trial_keys import key_paths
from tests.cli.workplace import SWEEP, TRIAL

_PATHS = [*key_paths(), *key_paths(SweepConfig)]
_TRIAL = yaml.safe_load(TRIAL)
_SWEEP = {**yaml.safe_load(SWEEP), "base": _TRIAL}

_words = st.sampled_from(
    ["textures", "folder", "voc", "full_softmax", "knn_softmax", "embedding_softmax", "sampled_softmax", "l2", "dot",
     "cosine", "val", "train", "grid", "random", "optuna", "asha", "full", "knn", "yes", "on", "null", "~", "1e-3",
     "0x10", "cpu", "auto", "cuda:0", "../x", "/", "", " ", "ü", "\u2028", "\x07"]
)  # fmt: skip
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.integers()
    | st.floats()
    | _words
    | st.text(max_size=8)
)  # fmt: skip
_spaces = st.one_of(
    st.fixed_dictionaries({"choice": st.lists(_scalars, max_size=4)}),
    st.fixed_dictionaries(
        {"int": st.lists(st.integers(-2, 40), max_size=3)},
        optional={"step": st.integers(-1, 5), "log": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"float": st.lists(st.floats(-1, 2), max_size=3)},
        optional={
            "step": st.floats(-1, 1),
            "log": st.booleans(),
            "when": st.dictionaries(st.sampled_from(_PATHS), _scalars),
        },
    ),
)
_values = st.recursive(
    _scalars | _spaces,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.sampled_from(_PATHS), inner, max_size=3),
    max_leaves=6,
)
_misspelt = st.sampled_from(_PATHS).flatmap(
    lambda path: st.integers(0, len(path)).map(lambda place: path[:place] + "x" + path[place + 1 :])
)
_keys = st.sampled_from(_PATHS) | st.sampled_from(_PATHS) | _misspelt | st.text(max_size=6)


@st.composite
def trial_texts(draw: st.DrawFn) -> str:
    """A trial's file: a sound one with some keys set to anything, and some of its letters changed."""
    return _text(draw, _changed(draw, _TRIAL))


@st.composite
def sweep_texts(draw: st.DrawFn) -> str:
    """A sweep's file, as `trial_texts`; most arms search something."""
    sweep = _changed(draw, _SWEEP)
    arms = sweep.get("arms")
    if isinstance(arms, dict):
        for name in draw(st.lists(st.sampled_from(["full", "knn", "a", "../b"]), max_size=3)):
            arms[name] = draw(st.dictionaries(_keys, _spaces | _scalars, max_size=3))
    return _text(draw, sweep)


@st.composite
def overrides(draw: st.DrawFn) -> list[str]:
    """Arguments of the command line, `key=value` most of them."""
    arguments = []
    for _ in range(draw(st.integers(1, 4))):
        value = draw(st.one_of(_scalars, _values).map(_flow) | st.text(max_size=12))
        arguments.append(
            draw(st.sampled_from(["{}={}", "{}={}", "{}={}", "{}={}", "{}{}", "{}=={}"])).format(draw(_keys), value)
        )
    return arguments


def _changed(draw: st.DrawFn, mapping: dict[str, Any]) -> dict[str, Any]:
    result = with_overrides(mapping, {})
    written = [path for path, _ in flatten(mapping)]
    for _ in range(draw(st.integers(0, 4))):
        *blocks, key = draw(_keys | st.sampled_from(written)).split(".")
        inner: Any = result
        for name in blocks:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            if draw(st.integers(0, 5)):
                inner[key] = draw(_values)
            else:
                inner.pop(key, None)
    return result


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _text(draw: st.DrawFn, mapping: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(mapping, sort_keys=False, default_flow_style=draw(st.sampled_from([None, True, False])))
    if draw(st.integers(0, 3)):
        return text
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        new = draw(
            st.sampled_from(
                [":", "- ", "\n", "\t", "{", "}", "[", "&a ", "*a", "!!str ", "<<: ", "#", "'", '"', "? ", "|", "%"]
            )
        )
        text = text[:place] + new + text[place + draw(st.integers(0, 2)) :]
    return text

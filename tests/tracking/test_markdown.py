from __future__ import annotations

import html
import re

import pytest

from essnet.tracking.markdown import code_block, inert


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[here](javascript:alert(1)) ![x](http://a/b)",
        "**bold** _it_ `code` ~~gone~~ # title > quote | cell",
        "&lt;b&gt; &amp;",
        "http://example.org a-b 1. + * =",
        "a\\`b\\\\<",
    ],
)
def test_text_from_outside_stays_text(text: str) -> None:
    shown = inert(text)
    assert "<" not in shown
    assert ">" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]()#|~:]", shown), "no mark without a backslash before it"
    assert html.unescape(re.sub(r"\\(.)", r"\1", shown)) == text


def test_it_is_one_line() -> None:
    assert inert("a\n# b\n\n- c") == r"a \# b \- c"


def test_no_backtick_ends_a_block_of_code() -> None:
    assert code_block("launch.py x") == "```\nlaunch.py x\n```"
    lines = code_block("a\n````\n<b>").splitlines()
    assert lines[0] == lines[-1] == "`````"

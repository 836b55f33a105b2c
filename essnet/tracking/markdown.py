"""Markdown for MLflow's descriptions, in which text from outside stays text."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~=:])")


def inert(text: object) -> str:
    """Return text of one line in which nothing is a mark, a link or an element of HTML."""
    line = " ".join(str(text).split())
    # Entities before backslashes: some renderers know no backslash before an angle bracket.
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def code_block(text: str) -> str:
    """Return a block of code whose fence no run of backticks in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"

"""The comparison as Markdown, for an issue, a wiki or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from essnet.report.answer import answers
from essnet.report.columns import columns, rows
from essnet.report.comparison import Comparison
from essnet.report.tables import legend, table_title

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&$!])")


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the answer, the table with the baseline and the best in bold, and what its columns mean."""
    shown = columns(comparisons)
    lines = [f"**{_escaped(table_title(comparisons))}**", ""]
    lines += [line for text in answers(comparisons) for line in (_escaped(text), "")]
    lines.append(_line(_escaped(column.title) for column in shown))
    lines.append(_line("---:" if column.is_number else ":---" for column in shown))
    for row in rows(comparisons):
        cells = [_escaped(column.text(row)) for column in shown]
        if row.role is not None:
            cells[0] = f"**{cells[0]}** ({row.role})"
        lines.append(_line(cells))
    lines.append("")
    lines += [f"{_escaped(line)}  " for line in legend(comparisons).splitlines()]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return text in which nothing is a mark or an element of HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

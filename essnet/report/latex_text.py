"""The comparison as a LaTeX table, for a paper."""

from __future__ import annotations

from collections.abc import Sequence

from essnet.report.answer import answers
from essnet.report.columns import columns, rows
from essnet.report.comparison import Comparison
from essnet.report.tables import legend, table_title

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
}


def comparison_latex(comparisons: Sequence[Comparison]) -> str:
    r"""Return a `table` with rules of the package booktabs; the baseline is in italics, the best in bold.

    The answer stands in comments above it, as a caption is the author's; T1 fonts (`\usepackage[T1]{fontenc}`) have
    every character of it.
    """
    shown = columns(comparisons)
    caption = f"{table_title(comparisons)}. {'. '.join(legend(comparisons).splitlines())}."
    lines = [f"% {' '.join(text.split())}" for text in answers(comparisons)]
    lines += [
        r"% \usepackage{booktabs} \usepackage[T1]{fontenc}",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_escaped(caption)}}}",
        f"  \\begin{{tabular}}{{{''.join('r' if column.is_number else 'l' for column in shown)}}}",
        r"    \toprule",
        f"    {_line([_escaped(column.title) for column in shown])}",
        r"    \midrule",
    ]
    for row in rows(comparisons):
        command = {"baseline": r"\textit", "best": r"\textbf"}.get(row.role or "")
        cells = [_escaped(column.text(row)) for column in shown]
        lines.append(f"    {_line([f'{command}{{{cell}}}' for cell in cells] if command else cells)}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    """Return text that LaTeX sets as it is; a minus before a number as one."""
    escaped = "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
    return f"$-${escaped[1:]}" if escaped[:1] == "-" and escaped[1:2].isdigit() else escaped

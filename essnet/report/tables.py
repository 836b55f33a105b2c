"""The comparison as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from essnet.report.columns import UNEQUAL_STEPS_MARK, columns, equal_steps, has_unequal_steps, rows
from essnet.report.comparison import Comparison

_STYLES = {"baseline": "cyan", "best": "bold green"}


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Return the table of all configurations, best first; the baseline and the best other stand out.

    Of one sweep it is 80 columns wide unless more than d and k was searched; where a terminal is narrower, states are
    wrapped and names cut. Of several, names are wrapped: what is cut would be the trial.
    """
    table = Table(
        title=table_title(comparisons),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    shown = columns(comparisons)
    overflow = "fold" if len(comparisons) > 1 else "ellipsis"
    for column in shown:
        justify = "right" if column.is_number else "left"
        table.add_column(column.title, justify=justify, no_wrap=column.is_number, overflow=overflow)  # type: ignore[arg-type]
    for row in rows(comparisons):
        table.add_row(*(column.text(row) for column in shown), style=_STYLES.get(row.role or ""))
    return table


def table_title(comparisons: Sequence[Comparison]) -> str:
    """Return which sweeps are compared, and after how many steps."""
    names = ", ".join(comparison.sweep for comparison in comparisons)
    steps = equal_steps(comparisons)
    return f"sweep{'s' if len(comparisons) > 1 else ''} {names}{f' after {steps} steps' if steps is not None else ''}"


def legend(comparisons: Sequence[Comparison]) -> str:
    """Return what the columns of the table mean."""
    metric, several = comparisons[0].metric, len(comparisons) > 1
    baseline = "the baseline of its sweep" if several else "the baseline"
    if any(comparison.several_seeds for comparison in comparisons):
        lines = [
            f"trial: the first of n seeds; {metric}: best evaluation; ±: 95 % interval",
            f"diff: to {baseline}, of equal seeds; x: as a multiple of it; ms: of a step",
        ]
    else:
        lines = [f"{metric}: best evaluation; diff: to {baseline}; x: as a multiple of it"]
    lines.append("MiB: peak of output layer and loss for one batch, forward and backward")
    if has_unequal_steps(comparisons):
        lines.append(f"{UNEQUAL_STEPS_MARK}: both as they were at the step where the shorter of them ended")
    return "".join(f"{line}\n" for line in lines)

"""A chart of the page, described once: plotly.js draws it where scripts run, matplotlib where they do not."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from essnet.report.palette import arm_colour

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")


@dataclass(frozen=True)
class Chart:
    """Traces and layout as plotly.js takes them, of the few kinds that `static_picture` knows.

    `customdata` of a trace has the points' trial ids: a click on a point leads to the trial's row.
    """

    name: str
    """Identifies it on the page."""
    alt: str
    """What it shows, for who cannot see it."""
    note: str
    """How to read it."""
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 360


@dataclass(frozen=True)
class Absent:
    """What stands in place of a part of the page: why it is not there."""

    reason: str


def plain(text: object) -> str:
    """Return text in which plotly.js finds neither elements nor mathematics."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def marker(place: int | None, *, size: int = 9) -> dict[str, Any]:
    """Return the mark of an arm; the baseline's is a star."""
    symbol = "star" if place is None else _SYMBOLS[place % len(_SYMBOLS)]
    return {"color": arm_colour(place), "symbol": symbol, "size": size + 4 if place is None else size}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": plain(title)}, "automargin": True, **more}

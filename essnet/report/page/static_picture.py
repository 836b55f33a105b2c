"""A chart as a picture, for where no scripts run and for paper: matplotlib draws what plotly.js would."""

from __future__ import annotations

import html
import io
import warnings
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from essnet.report.page.chart import Chart

_DASHES = {"solid": "-", "dash": "--", "dot": ":"}
_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "cross": "P", "x": "X",
    "star": "*",
}  # fmt: skip
_WIDTH_INCHES = 6.5
_PIXELS_PER_INCH = 96
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "essnet",  # the same picture, byte for byte, each time
    "svg.fonttype": "none",
}
_WIDTH_OF_BARS = 0.8


def static_picture(chart: Chart) -> str:
    """Return the chart as SVG."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The text stays text, and whoever shows the picture has fonts of their own.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = Figure(figsize=(_WIDTH_INCHES, chart.height / _PIXELS_PER_INCH), layout="constrained")
        axes = figure.subplots()
        draw = {"heatmap": _heat_map, "bar": _bars, "scatter": _scatter}[chart.traces[0]["type"]]
        draw(axes, chart)
        _axes(axes, chart)
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
    return text[text.index("<svg") :]


def _scatter(axes: Axes, chart: Chart) -> None:
    lower: list[float] = []  # a filled trace reaches down to the one before it
    for trace in chart.traces:
        line, dots = trace.get("line", {}), trace.get("marker", {})
        x, y = trace["x"], trace["y"]
        label = _text(trace["name"]) if trace.get("showlegend", True) and "name" in trace else None
        if "fillcolor" in trace:
            axes.fill_between(x, lower, y, color=line["color"], alpha=0.18, linewidth=0)
        elif "lines" in trace["mode"]:
            style = _DASHES[line.get("dash", "solid")]
            axes.plot(x, y, color=line["color"], linewidth=line.get("width", 2), linestyle=style, label=label)
        else:
            symbol, size = _MARKERS[dots.get("symbol", "circle")], dots.get("size", 6) ** 2 / 2
            axes.scatter(x, y, s=size, c=dots["color"], marker=symbol, label=label, alpha=dots.get("opacity", 1))
        if "error_y" in trace:
            axes.errorbar(x, y, trace["error_y"]["array"], color=dots["color"], fmt="none", capsize=3, elinewidth=1)
        if "text" in trace.get("mode", ""):
            for place, text in enumerate(trace["text"]):
                at = x[place], y[place]
                axes.annotate(_text(text), at, (0, 5), textcoords="offset points", ha="center", size=7)
        lower = y
    axes.grid(alpha=0.3)


def _bars(axes: Axes, chart: Chart) -> None:
    rows = list(dict.fromkeys(name for trace in chart.traces for name in trace["y"]))
    is_grouped = chart.layout.get("barmode") == "group"
    height = _WIDTH_OF_BARS / (len(chart.traces) if is_grouped else 1)
    for number, trace in enumerate(chart.traces):
        shift = (number - (len(chart.traces) - 1) / 2) * height if is_grouped else 0
        places = [rows.index(name) + shift for name in trace["y"]]
        axes.barh(places, trace["x"], height, color=trace["marker"]["color"], label=_text(trace["name"]))
    axes.set_yticks(range(len(rows)), [_text(row) for row in rows])
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)


def _heat_map(axes: Axes, chart: Chart) -> None:
    (trace,) = chart.traces
    colours = LinearSegmentedColormap.from_list("scale", trace["colorscale"])
    grid = [[float("nan") if value is None else value for value in row] for row in trace["z"]]
    image = axes.imshow(grid, cmap=colours, vmin=trace["zmin"], vmax=trace["zmax"], aspect="auto")
    for place, row in enumerate(trace["text"]):
        for column, text in enumerate(row):
            axes.text(column, place, _text(text), ha="center", va="center", color="black", size=8)
    axes.set_xticks(range(len(trace["x"])), [_text(name) for name in trace["x"]])
    axes.set_yticks(range(len(trace["y"])), [_text(name) for name in trace["y"]])
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(_text(trace["colorbar"]["title"]["text"]))


def _axes(axes: Axes, chart: Chart) -> None:
    x, y = chart.layout["xaxis"], chart.layout["yaxis"]
    axes.set_xlabel(_text(x["title"]["text"]))
    axes.set_ylabel(_text(y["title"]["text"]))
    if x.get("type") == "log":
        axes.set_xscale("log")
    if "range" in x:
        axes.set_xlim(*x["range"])
    elif x.get("rangemode") == "tozero":
        axes.set_xlim(left=0)
    if "range" in y:
        axes.set_ylim(*y["range"])
    if y.get("autorange") == "reversed" and not axes.yaxis_inverted():
        axes.invert_yaxis()
    if "scaleanchor" in y:
        axes.set_aspect("equal")


def _text(text: Any) -> str:
    """Return text as plotly.js would show it, in which matplotlib finds no mathematics."""
    return html.unescape(str(text).replace("<br>", "\n")).replace("$", r"\$")

"""The page's figures: a table of what each shows, and those of other packages that a sweep asks for.

A figure of another package is what its name in `report.figures`, or behind `launch.py report --figure`, stands for: a
`Figure`, such as one of those below.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from essnet.config.errors import InputError, first_line
from essnet.config.extension_names import REPORT_FIGURES, is_extension
from essnet.config.extensions import load
from essnet.report.comparison import Comparison
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart
from essnet.report.page.cost_chart import cost_chart
from essnet.report.page.curve_chart import curve_chart
from essnet.report.page.embedding_chart import best_embeddings
from essnet.report.page.heat_map import heat_map
from essnet.report.page.importance_chart import importance_chart
from essnet.report.page.static_picture import static_picture
from essnet.report.pareto import MEMORY_MIB, STEP_MS
from essnet.sweep.folder import SweepFolder

_KEY = "report.figures"


@dataclass(frozen=True)
class Figure:
    """A figure of the page: drawn from the comparison of a sweep alone, and what it finds in the sweep's folder."""

    heading: str
    """`{metric}` stands for the metric's name. Figures with one heading stand beside each other."""
    draw: Callable[[Comparison], Chart | Absent]


FIGURES: dict[str, Figure] = {
    "map": Figure("{metric} over d and k", heat_map),
    "memory": Figure("Cost against {metric}", partial(cost_chart, figure=MEMORY_MIB)),
    "time": Figure("Cost against {metric}", partial(cost_chart, figure=STEP_MS)),
    "curves": Figure("Learning curves", curve_chart),
    "importance": Figure("Which parameter mattered", importance_chart),
    "embeddings": Figure("Embeddings in two dimensions", best_embeddings),
}
"""Those of every sweep, in the order in which they stand on the page."""


@dataclass(frozen=True)
class Section:
    """Figures under one heading."""

    name: str
    heading: str
    charts: Sequence[Chart | Absent]


def load_figures(names: Iterable[str]) -> dict[str, Figure]:
    """Import figures of other packages, by the names of `report.figures`.

    Raises
    ------
    InputError
        If one may not be imported here, is not there, or is no `Figure`.
    """
    found: dict[str, Figure] = {}
    for name in names:
        figure = load(name, group=REPORT_FIGURES, key=_KEY)
        if not isinstance(figure, Figure):
            kind = type(figure).__name__
            raise InputError(f"{_KEY}: {name} is {kind}; expected an essnet.report.page.Figure (docs/extending.md)")
        found[name] = figure
    return found


def asked_figures(folder: SweepFolder) -> dict[str, Figure]:
    """Return other packages' figures that a sweep was asked to show; of one that is not installed here, its absence.

    Raises
    ------
    InputError
        If its state is damaged, or as `load_figures`.
    """
    figures: dict[str, Figure] = {}
    for name in _asked_names(folder):
        if is_extension(name, REPORT_FIGURES):
            figures |= load_figures([name])
        else:
            figures[name] = Figure(name, partial(_not_installed, name))
    return figures


def _not_installed(name: str, _: Comparison) -> Absent:
    return Absent(f"{name} is a figure of a package that is not installed here.")


def _asked_names(folder: SweepFolder) -> list[str]:
    try:
        names = folder.state().get("configuration", {}).get("report", {}).get("figures", [])
    except AttributeError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{folder.path / 'sweep.json'}: damaged; configuration.report has wrong figures")
    return names


def draw_sections(comparison: Comparison, others: Mapping[str, Figure]) -> list[Section]:
    """Draw all figures of a sweep; where one cannot be drawn, what stands in its place says why."""
    drawn = [(name, figure.heading, _draw(figure, comparison)) for name, figure in FIGURES.items()]
    for number, (name, figure) in enumerate(others.items(), start=1):
        drawn.append((f"extension-{number}", figure.heading, _draw_other(name, figure, comparison, number)))
    metric = in_words(comparison.metric)
    sections = []
    for heading, group in itertools.groupby(drawn, key=lambda one: one[1]):
        figures = list(group)
        charts = [chart for _, _, chart in figures]
        sections.append(Section(figures[0][0], heading.replace("{metric}", metric), charts))
    return sections


def _draw(figure: Figure, comparison: Comparison) -> Chart | Absent:
    try:
        return figure.draw(comparison)
    except InputError as error:  # a trial left something damaged
        return Absent(str(error))


def _draw_other(name: str, figure: Figure, comparison: Comparison, number: int) -> Chart | Absent:
    """Draw another package's figure, under a name that no other one has; the page does not fail as it does."""
    try:
        found = figure.draw(comparison)
        if isinstance(found, Absent):
            return found
        chart = replace(found, name=f"extension-{number}")
        json.dumps([chart.traces, chart.layout], allow_nan=False)
        static_picture(chart)
    except Exception as error:  # whatever the code of another package does
        return Absent(f"{name} could not be drawn: {type(error).__name__}, {first_line(error)}")
    return chart

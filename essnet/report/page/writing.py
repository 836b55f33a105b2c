"""The page is put together and written."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from essnet import __version__
from essnet.atomic_files import write_atomically
from essnet.report.columns import all_columns, rows
from essnet.report.comparison import Comparison
from essnet.report.metric_names import in_words
from essnet.report.page.chart import Absent, Chart
from essnet.report.page.figures import asked_figures, load_figures
from essnet.report.page.joint_chart import joint_chart
from essnet.report.page.sections import sweep_part
from essnet.report.page.static_picture import static_picture
from essnet.report.pareto import COST_FIGURES
from essnet.report.tables import legend, table_title
from essnet.sweep.folder import ENDED, SweepFolder

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(comparisons: Sequence[Comparison], path: Path, *, figures: Sequence[str] = ()) -> None:
    """Write the comparison of one sweep or several as one HTML file that fetches nothing.

    `figures` are names of other packages' figures, beside those that the sweeps were asked to show.

    Raises
    ------
    InputError
        If one of these may not be imported here, or is none.
    """
    text = page_text(comparisons, figures=figures)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def page_text(comparisons: Sequence[Comparison], *, figures: Sequence[str] = ()) -> str:
    """Return the page; parameters and errors are those of `write_page`."""
    from plotly.offline import get_plotlyjs  # takes a fifth of a second

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    more = load_figures(figures)
    # Before anything is drawn, which takes seconds.
    others = [{**asked_figures(SweepFolder(comparison.directory)), **more} for comparison in comparisons]
    parts = [sweep_part(comparison, found) for comparison, found in zip(comparisons, others, strict=True)]
    joint = _joint_charts(comparisons)
    scripts = [_read("tables.js"), _read("printing.js"), str(get_plotlyjs()), _read("charts.js")]
    return environment.get_template("page.html").render(
        title=table_title(comparisons),
        parts=parts,
        columns=all_columns(comparisons),
        rows=rows(comparisons),
        legend=legend(comparisons).splitlines(),
        metric_names={comparison.sweep: _metric_names(comparison) for comparison in comparisons},
        in_words=in_words,
        num_ended=lambda comparison: sum(trial.state in ENDED for trial in comparison.trials),
        chart_id=_chart_id,
        picture=_picture,
        joint=joint,
        charts=[
            *(_for_plotly(None, chart) for chart in joint if isinstance(chart, Chart)),
            *(_for_plotly(part.comparison.sweep, chart) for part in parts for chart in part.charts),
        ],
        style=_read("page.css"),
        scripts=scripts,
        script_hashes=[_hash(script) for script in scripts],
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _metric_names(comparison: Comparison) -> list[str]:
    return sorted({name for trial in comparison.trials for name in trial.metrics})


def _joint_charts(comparisons: Sequence[Comparison]) -> list[Chart | Absent]:
    return [joint_chart(comparisons, figure) for figure in COST_FIGURES] if len(comparisons) > 1 else []


def _chart_id(sweep: str | None, chart: Chart) -> str:
    return chart.name if sweep is None else f"{sweep}-{chart.name}"


def _for_plotly(sweep: str | None, chart: Chart) -> dict[str, Any]:
    """Return what draws a chart: of a sweep, or of all."""
    return {
        "id": _chart_id(sweep, chart),
        "sweep": sweep,
        "data": chart.traces,
        "layout": chart.layout,
        "height": chart.height,
    }


def _picture(chart: Chart) -> str:
    """Return the chart as the address of a picture that holds all of it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(static_picture(chart).encode()).decode('ascii')}"


def _hash(script: str) -> str:
    """Return what the page's policy knows a script by: no other one runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"

"""Files of a comparison in the sweep's folder, which become artifacts of its parent run too."""

from __future__ import annotations

import logging
from pathlib import Path

from essnet.atomic_files import write_atomically, write_json
from essnet.config.errors import first_line
from essnet.report.comparison import Comparison
from essnet.report.csv_text import comparison_csv
from essnet.report.json_values import comparison_json

_logger = logging.getLogger(__name__)


def write_files(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison.json`, `.csv`, `.html` and, once there is a result, `.png`; return which."""
    # They take a second to import, and `status` has no need of them.
    from essnet.report.figure import save_figure
    from essnet.report.page import write_page

    write_json(folder / "comparison.json", comparison_json([comparison]))
    text = comparison_csv([comparison])
    write_atomically(folder / "comparison.csv", lambda path: path.write_text(text, encoding="utf-8"))
    names = ["comparison.json", "comparison.csv"]
    try:
        write_page([comparison], folder / "comparison.html")
        names.append("comparison.html")
    except Exception as error:  # whatever trials left behind: a sweep does not fail as its page cannot be drawn
        _logger.warning("comparison.html is not written: %s: %s", type(error).__name__, first_line(error))
    if comparison.baseline is not None and comparison.best is not None:
        save_figure(comparison, folder / "comparison.png")
        names.append("comparison.png")
    return [folder / name for name in names]

"""Fills the tables of the pages with the stored results, and finds figures that stand in none of them.

    python -m benchmarks.studies.pages           writes the tables anew
    python -m benchmarks.studies.pages --check   only says what is not as it should be; ends with 1 then

A page has a table between `<!-- table: NAME -->` and `<!-- end of table -->`, by its name in `TABLES`. In the pages of
the studies a decimal figure of the text has to stand in a table of the same page: nothing is quoted that the stored
results do not say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
PAGES = (_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md")))
_TABLE = re.compile(r"<!-- table: (?P<name>[a-z0-9-]+) -->\n(?P<body>.*?)<!-- end of table -->", re.DOTALL)
_CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", re.DOTALL)
_DECIMAL = re.compile(r"(?<![\w.])[+-]?\d+\.\d+(?![\w.]*\d)")


def filled(text: str) -> str:
    """Return a page with its tables made anew."""
    from benchmarks.studies.tables import TABLES

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in TABLES:
            raise KeyError(f"no table {name!r}; there are {', '.join(TABLES)}")
        return f"<!-- table: {name} -->\n\n{TABLES[name]()}\n\n<!-- end of table -->"

    return _TABLE.sub(table, text)


def unsupported(text: str) -> list[str]:
    """Return the decimal figures of a page's text that stand in none of its tables."""
    tables = "".join(match["body"] for match in _TABLE.finditer(text))
    supported = {figure.lstrip("+-") for figure in _DECIMAL.findall(tables)}
    prose = _CODE.sub(" ", _TABLE.sub(" ", text))
    return [figure for figure in _DECIMAL.findall(prose) if figure.lstrip("+-") not in supported]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    faults = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        now = filled(text)
        name = page.relative_to(_ROOT)
        if now != text and options.check:
            faults.append(f"{name}: its tables are not those of the stored results")
        elif now != text:
            page.write_text(now, encoding="utf-8")
            print(f"{name}: written")
        if "studies" in page.parts:
            faults += [f"{name}: {figure} stands in none of its tables" for figure in unsupported(now)]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

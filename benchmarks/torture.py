"""How many wrong inputs essnet was given, and what it did: `make torture`. Linux only.

    .venv/bin/python -m benchmarks.torture                   10,000 cases of each subject
    .venv/bin/python -m benchmarks.torture --minutes 5       as many as come to be run in the time
    .venv/bin/python -m benchmarks.torture --table           no further case: only the table of docs/reliability.md

Cases are numbered, and a number is a seed. What was run is kept in benchmarks/results/torture.json, after each part,
and the next call goes on behind it; `--anew` forgets it. The exit code is 1 if any case was neither taken nor answered.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from essnet import __version__
from essnet.atomic_files import read_json, write_atomically, write_json
from tests.fuzzing.campaign import MOST_SECONDS, fuzz
from tests.negative.cases import read_cases

RESULTS = ROOT / "benchmarks" / "results" / "torture.json"
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- counts: written by make torture -->", "<!-- end of counts -->"
SUBJECTS = (
    "trials", "sweeps", "overrides", "images", "masks", "videos", "MATLAB labels", "annotations", "checkpoints",
    "sweep folders", "archives",
)  # fmt: skip
_PART = 2500
"""Cases between two looks at the clock; each part starts a process."""


def add(known: Mapping[str, Any], *, subject: str, count: int) -> dict[str, Any]:
    """Run `count` further cases of a subject; returns what is known of it then."""
    found = fuzz({subject: count}, first=known.get("next_case", 0))[subject]
    counts = {
        name: known.get(name, 0) + found.outcomes[name] for name in ("taken", "answered", "raised", "hung", "died")
    }
    troubles = {**known.get("troubles", {}), **{str(case): text for case, text in found.troubles.items()}}
    return {**counts, "cases": sum(counts.values()), "next_case": found.next_case, "troubles": troubles}


def table(results: Mapping[str, Any]) -> str:
    """Return the counts in Markdown."""
    cases = list(read_cases())
    wrong = [case for case in cases if case.code]
    lines = [
        f"The negative table has {len(wrong)} wrong inputs, in {sum(len(case.run) for case in wrong)} command lines, "
        f"and {len(cases) - len(wrong)} that look wrong and are not.",
        "",
        "| fuzzed | cases | taken | answered in one line | other error | longer than "
        f"{MOST_SECONDS:.0f} s | process died |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SUBJECTS:
        row = results.get("subjects", {}).get(name)
        if row is not None:
            counts = [row[key] for key in ("cases", "taken", "answered", "raised", "hung", "died")]
            lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")
    return "\n".join(lines)


def write_table(results: Mapping[str, Any]) -> None:
    """Put the counts in their place in the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n{table(results)}\n{END}{after}"
    write_atomically(DOCUMENT, lambda path: path.write_text(text, encoding="utf-8"))


def main() -> int:
    """Run cases, keep what came of them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", type=int, default=10_000, help="of each subject, those that were run before included"
    )
    parser.add_argument("--minutes", type=float, default=None, help="begin no further part after so long")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = {} if options.anew else read_json(RESULTS)
    subjects: dict[str, Any] = results.get("subjects", {})
    deadline = time.monotonic() + 60 * (options.minutes if options.minutes is not None else 10**6)
    waiting = [] if options.table else list(options.subjects)
    while waiting and time.monotonic() < deadline:  # in turns: a short time is shared by all
        name = waiting.pop(0)
        known = subjects.get(name, {})
        count = min(_PART, options.cases - known.get("next_case", 0))
        if count <= 0:
            continue
        subjects[name] = add(known, subject=name, count=count)
        waiting.append(name)
        write_json(RESULTS, {"version": __version__, "subjects": subjects})
        print(f"{name}: {json.dumps(subjects[name])}", flush=True)
    write_table({"subjects": subjects})
    return int(any(row["troubles"] for row in subjects.values()))


if __name__ == "__main__":
    sys.exit(main())

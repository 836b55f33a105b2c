"""What lasts how long, and what comes first, is never asked of the clock on the wall: somebody may set it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
ALLOWED = {
    "essnet/tracking/entries.py": "when a metric was logged, as MLflow shows it",
    "essnet/sweep/parent_run.py": "when a sweep began",
    "essnet/sweep/sweep_tracking.py": "seconds since then, which never go back",
    "essnet/sweep/requests.py": "a part of a name that no other request has",
    "essnet/sweep/search.py": "Optuna wants a moment of each earlier trial",
    "essnet/report/page/writing.py": "when a page was written",
}


def wall_clocks(source: str) -> set[str]:
    """The calls of a module that ask what time it is."""
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {call for call in calls if ".".join(call.split(".")[-2:]) in WALL}


def test_only_where_a_moment_is_meant() -> None:
    files = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (ROOT / "essnet").rglob("*.py")}
    assert {path for path, source in files.items() if wall_clocks(source)} == set(ALLOWED)


def test_what_would_be_found() -> None:
    for line in ("time.time() - began", "datetime.now()", "datetime.datetime.now().astimezone()"):
        assert wall_clocks(line), line
    for line in ("time.monotonic()", "time.perf_counter()", "path.stat().st_mtime"):
        assert not wall_clocks(line), line


def test_it_is_asked_by_its_full_name() -> None:
    """Else the test above would not see it."""
    for path in (ROOT / "essnet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "time", path

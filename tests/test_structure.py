from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 350


def test_every_requirement_has_a_range() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    wanted = [line for line in lines if line]
    assert wanted
    without = [line for line in wanted if not re.match(r"[A-Za-z0-9_.\[\]-]+>=[0-9.]+,<[0-9.]+(; .+)?$", line)]
    assert without == []


def test_files_stay_small() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "essnet").rglob("*.py")}
    assert counts
    assert {str(path.relative_to(ROOT)): lines for path, lines in counts.items() if lines > MOST_LINES} == {}

"""What `make torture` counted is what the document shows, and the next call goes on behind it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import torture
from essnet.atomic_files import read_json
from tests.fuzzing.campaign import Findings
from tests.fuzzing.test_fuzz import CASES


def test_the_document_has_what_was_counted() -> None:
    text = torture.DOCUMENT.read_text(encoding="utf-8")
    _, begin, rest = text.partition(torture.BEGIN)
    shown, end, _ = rest.partition(torture.END)
    assert begin
    assert end
    assert shown.strip() == torture.table(read_json(torture.RESULTS)), "python -m benchmarks.torture --table writes it"


def test_no_case_was_left_out_or_in_trouble() -> None:
    subjects = read_json(torture.RESULTS)["subjects"]
    assert set(subjects) == set(torture.SUBJECTS) == set(CASES)
    for subject, row in subjects.items():
        assert row["cases"] == row["taken"] + row["answered"] >= 10_000, subject
        assert row["troubles"] == {}, subject


def test_cases_are_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fuzz(counts: dict[str, int], *, first: int) -> dict[str, Findings]:
        assert (counts, first) == ({"masks": 10}, 30)
        found = Findings("masks", next_case=40, end=40, cases=10, troubles={33: "hung: 12 s"})
        found.outcomes.update(taken=4, answered=5, hung=1)
        return {"masks": found}

    monkeypatch.setattr(torture, "fuzz", fuzz)
    known: dict[str, Any] = {"taken": 20, "answered": 9, "raised": 1, "next_case": 30, "troubles": {"7": "raised"}}
    assert torture.add(known, subject="masks", count=10) == {
        "taken": 24,
        "answered": 14,
        "raised": 1,
        "hung": 1,
        "died": 0,
        "cases": 40,
        "next_case": 40,
        "troubles": {"7": "raised", "33": "hung: 12 s"},
    }

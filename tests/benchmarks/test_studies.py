"""The studies' pages: every table is that of the stored results, and no figure of the text stands in none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import evidence
from benchmarks.studies import pages, results
from benchmarks.studies.tables import TABLES, markdown
from essnet.config import load_sweep
from essnet.report import load_comparison
from tests.report.sweep_folders import add_trial, make_sweep_folder

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "docs" / "studies").glob("*.md"))
PAGE = """One is 0.123, the other +0.456, and `0.9` is code, as [a link](x-0.8.md) is.

<!-- table: t -->
| a |
|---|
| 0.123 ± 0.004 |
| 0.456 |
<!-- end of table -->
"""


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_stored_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert pages.filled(text) == text


@pytest.mark.parametrize("page", STUDIES, ids=lambda page: page.name)
def test_each_figure_of_the_text_stands_in_a_table(page: Path) -> None:
    assert pages.unsupported(page.read_text(encoding="utf-8")) == []


def test_each_table_stands_in_a_page() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES)
    assert all(f"<!-- table: {name} -->" in shown for name in TABLES)


def test_a_figure_that_no_table_has_is_found() -> None:
    assert pages.unsupported(PAGE) == []
    assert pages.unsupported(PAGE.replace("+0.456,", "+0.457,")) == ["+0.457"]
    assert pages.unsupported(PAGE.replace("+0.456,", "+0.45,")) == ["+0.45"]


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(KeyError, match="no table 't'"):
        pages.filled(PAGE)


def test_a_changed_table_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "t", lambda: markdown(["a"], [["0.5"]]))
    now = pages.filled(PAGE)
    assert "| 0.5 |" in now
    assert "0.123 ±" not in now
    assert pages.filled(now) == now
    assert pages.unsupported(now) == ["0.123", "+0.456"]


@pytest.mark.parametrize("name", evidence.SWEEPS)
def test_each_sweep_of_the_evidence_loads_under_its_name(name: str) -> None:
    file, *overrides = evidence.SWEEPS[name]
    assert load_sweep(ROOT / "experiments" / "studies" / file, overrides).config.name == name


@pytest.mark.parametrize("path", sorted(results.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_each_stored_result_is_one_that_the_evidence_makes(path: Path) -> None:
    assert path.stem in {**evidence.SWEEPS, **evidence.SCRIPTS}


def test_a_kept_sweep_compares_as_the_sweep_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    folder = make_sweep_folder(tmp_path / "runs" / "s", num_trials=4)
    for index, (arm, seed, miou) in enumerate([("full", 0, 0.5), ("full", 1, 0.7), ("knn", 0, 0.4), ("knn", 1, 0.5)]):
        history = {step: {"val/miou": miou * step / 2, "perf/step_ms": 9.0, "other": 1.0} for step in (1, 2)}
        add_trial(folder, index, arm, history, seed=seed, overrides={"seed": seed})
    comparison = load_comparison(folder)
    results.keep(comparison, tmp_path / "s.json", command="launch.py sweep s.yaml")
    kept = results.read("s")
    assert kept["trials"][3]["curve"] == [[1, 0.25], [2, 0.5]]
    assert "other" not in kept["trials"][0]["metrics"]
    of_both = (results.configurations(kept), comparison.configurations)
    values = [[(one.arm, one.value, one.difference) for one in found] for found in of_both]
    assert values[0] == values[1]
    (difference,) = (one.difference for one in results.configurations(kept) if one.arm == "knn")
    assert difference is not None
    assert difference.mean == pytest.approx(-0.15)

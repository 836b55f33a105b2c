"""LaTeX, Markdown, and several sweeps beside each other in every form."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from essnet.config import InputError
from essnet.report import (
    Comparison,
    answers,
    comparison_csv,
    comparison_json,
    comparison_latex,
    comparison_markdown,
    comparison_table,
    load_comparisons,
)
from essnet.report.page.writing import page_text
from essnet.sweep.folder import SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder

HOSTILE = r"a_b & c|d $5$ 100% #1 {x} \end{table} <b>^~ *y* [z](u) `w`"


def make_sweep(path: Path, *, level: float, metric: str = "val/miou") -> SweepFolder:
    folder = make_sweep_folder(path, metric=metric, num_trials=2)
    add_trial(folder, 0, "full", {20: {metric: level, "perf/step_ms": 100.0}})
    add_trial(folder, 1, "knn", {20: {metric: level - 0.01 * level * 10, "perf/step_ms": 50.0}},
              objective={"name": "knn_softmax"}, point={"note": HOSTILE}, overrides={"note": HOSTILE})  # fmt: skip
    return folder


@pytest.fixture
def comparisons(tmp_path: Path) -> list[Comparison]:
    return load_comparisons([make_sweep(tmp_path / "one", level=0.5), make_sweep(tmp_path / "two", level=0.9)])


def test_latex_sets_every_character_as_it_is(comparisons: list[Comparison]) -> None:
    text = comparison_latex(comparisons[:1])
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert (
        r"a\_b \& c\textbar{}d \$5\$ 100\% \#1 \{x\} \textbackslash{}end\{table\} "
        r"\textless{}b\textgreater{}\textasciicircum{}\textasciitilde{} *y* [z](u) `w`"
    ) in body
    assert r"$-$0.050" in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2
    number = len(re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)[0])
    assert all(len(re.findall(r"(?<!\\)&", row)) == number - 1 for row in rows)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    # The answer stands in a comment: nothing of it may reach the next line.
    assert text.splitlines()[0].startswith("% Best so far: k-nearest")


def test_latex_compiles(comparisons: list[Comparison], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex on this machine")
    head = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{comparison_latex(comparisons)}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_markdown_has_cells_without_marks(comparisons: list[Comparison]) -> None:
    text = comparison_markdown(comparisons[:1])
    table = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert len(set(cells)) == 1
    assert len(table) == 4
    assert r"a\_b \& c\|d \$5\$ 100% \#1 {x} \\end{table} \<b\>^\~ \*y\* \[z\](u) \`w\`" in text
    assert "**000-full** (baseline)" in text
    assert "**001-knn** (best)" in text


def test_several_sweeps_stand_by_the_difference_to_their_own_baseline(comparisons: list[Comparison]) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(comparison_table(comparisons))
    names = [line.split()[0] for line in console.export_text().splitlines()[3:]]
    assert names == ["one/000-full", "two/000-full", "one/001-knn", "two/001-knn"]
    assert [text.split(":")[0] for text in answers(comparisons)] == ["one", "two"]
    lines = list(csv.DictReader(io.StringIO(comparison_csv(comparisons))))
    assert [(line["sweep"], line["trial_id"]) for line in lines] == [tuple(name.split("/")) for name in names]
    assert [float(line["difference"]) for line in lines] == pytest.approx([0, 0, -0.05, -0.09])
    assert comparison_markdown(comparisons).count("**one/000-full** (baseline)") == 1
    assert comparison_latex(comparisons).count(r"\textit{two/000-full\}") == 0
    assert comparison_latex(comparisons).count(r"\textit{two/000-full}") == 1


def test_json_of_several_sweeps_is_that_of_each(comparisons: list[Comparison]) -> None:
    assert comparison_json(comparisons) == {"sweeps": [comparison_json([one]) for one in comparisons]}


def test_the_page_of_several_sweeps_has_the_parts_of_each(comparisons: list[Comparison]) -> None:
    text = page_text(comparisons)
    for sweep in ("one", "two"):
        assert f'id="{sweep}-cost-time"' in text
        assert 'id="joint-time"' in text
        assert f"<strong>{sweep}:</strong>" in text
    assert len(set(re.findall(r' id="([^"]+)"', text))) == len(re.findall(r' id="([^"]+)"', text))


def test_sweeps_with_other_metrics_do_not_stand_together(tmp_path: Path) -> None:
    folders = [make_sweep(tmp_path / "one", level=0.5), make_sweep(tmp_path / "two", level=9, metric="perf/step_ms")]
    with pytest.raises(
        InputError, match=r"two: compares by perf/step_ms, but one by val/miou; only sweeps with the same"
    ):
        load_comparisons(folders)

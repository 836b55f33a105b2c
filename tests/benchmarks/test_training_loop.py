"""The benchmark of the loop: that it says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.training_loop import main


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "loop.json"
    sizes = ["--encoder", "tu-test_resnet", "--crop", "32", "--batch", "2", "--steps", "2", "--rounds", "2"]
    assert main([*sizes, "--classes", "5", "--device", "cpu", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert set(found["step_ms"]) == {"trainer", "bare"}
    assert found["step_ms"]["bare"]["p50"] > 0
    assert found["trainer_to_bare"]["p20"] <= found["trainer_to_bare"]["p80"]
    assert "trainer / bare" in capsys.readouterr().out

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.coco_lvis_builder import main
from tests.coco_lvis.generated import SOURCES, overlapping


def test_the_benchmark_says_how_fast_the_builder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = overlapping(2).write(tmp_path / "data")
    (folder / "annotations").mkdir()
    names = dict(zip(SOURCES, ("lvis_v1_train", "lvis_v1_val", "stuff_train2017", "stuff_val2017"), strict=True))
    for source, name in names.items():
        (folder / f"{source}.json").rename(folder / "annotations" / f"{name}.json")
    for split in ("train2017", "val2017"):
        (folder / "images" / split).rename(folder / split)
    file, scratch = tmp_path / "builder.json", tmp_path / "scratch"
    scratch.mkdir()
    options = ["--root", str(folder), "--workers", "1", "--rounds", "2", "--repeat", "1", "--scratch", str(scratch)]
    assert main([*options, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    speeds = result["masks_per_second"]
    assert (result["images"], result["annotations"], result["workers"], result["rounds"]) == (12, 144, 1, 2)
    assert all(speeds[way]["p20"] <= speeds[way]["p50"] <= speeds[way]["p80"] for way in ("naive", "builder", "floor"))
    assert result["builder_to_naive"] == pytest.approx(speeds["builder"]["p50"] / speeds["naive"]["p50"])
    assert "builder / naive" in capsys.readouterr().out
    assert list(scratch.iterdir()) == []

"""`data check` from the command line: what it prints, draws and keeps, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from essnet.cli.app import main
from essnet.config import load_trial
from essnet.data import build_dataset
from essnet.data.class_table import class_colours
from essnet.data.kept_histogram import label_histogram
from tests.cli.workplace import ROOT, TRIAL, tree
from tests.data.fixtures import make_folder_dataset, save_mask, truncate


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_folder_dataset(tmp_path / "d", num_images=8, size=(64, 80))


def check(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(["data", "check", *arguments])
    assert isinstance(exited.value.code, int)
    return exited.value.code


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return loaded


def test_a_sound_data_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mask(root / "masks/val/000.png", np.full((64, 80), 255, np.uint8))
    assert check("folder", "--root", "d", "--json", "--preview", "p.png") == 0
    found = result(capsys)
    assert {key: found[key] for key in ("ok", "name", "root", "problems", "problem_count", "preview")} == {
        "ok": True,
        "name": "folder",
        "root": "d",
        "problems": [],
        "problem_count": 0,
        "preview": "p.png",
    }
    assert found["splits"].keys() == {"train", "val"}
    train, val = found["splits"]["train"], found["splits"]["val"]
    assert (train["images"], train["pixels"], train["ignored_share"]) == (8, 8 * 64 * 80, 0)
    assert (train["classes_seen"], train["never_seen"]) == (4, [])
    assert [row["name"] for row in train["classes"]] == [f"class {index}" for index in range(4)]
    assert sum(row["pixels"] for row in train["classes"]) == train["pixels"]
    assert all(row["images"] == 8 for row in train["classes"])
    assert val["ignored_share"] == 1 / 8
    assert all(row["images"] == 7 for row in val["classes"])


def test_problems_are_listed_and_the_exit_code_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        save_mask(root / f"masks/train/{number:03}.png", np.full((64, 80), 90 + number, np.uint8))
    truncate(root / "images/val/002.png")
    (root / "images/val/003.png").unlink()
    assert check("folder", "--root", "d") == 1
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert "labels with a value that stands for nothing: 7" in lines
    assert sum("mask has id 9" in line for line in lines) == 5
    assert "  and 2 more (--json lists them)" in lines
    assert lines[-1] == "9 problems"
    assert output.err == ""

    assert check("folder", "--root", "d", "--json") == 1
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert (found["ok"], found["problem_count"], found["preview"]) == (False, 9, None)
    assert len(found["problems"]) == 9
    assert found["splits"]["train"]["images"] == 8
    assert found["splits"]["val"]["images"] == 7
    assert "9 problems" in output.err
    # Only what is whole is kept.
    assert not (root.parent / "runs").exists()


def test_the_histogram_is_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (root / "classes.txt").open("a") as file:
        file.write("".join(f"unseen [bold]{number}\n" for number in range(7)))
    assert check("folder", "--root", "d") == 0
    out = capsys.readouterr().out
    assert "train: 8 images, 40,960 pixels, 0.0% ignored, 4 of 11 classes seen" in out
    assert "never seen: unseen [bold]0, unseen [bold]1," in out
    assert "unseen [bold]4 and 2 more" in out
    assert out.splitlines()[-1] == "nothing is wrong"


def test_names_that_look_like_markup(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "classes.txt").write_text("[/sky]\nroad [left]\n[red]car\n[bold\n")
    assert check("folder", "--root", "d") == 0
    rows = {line.split("  ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"[/sky]", "road [left]", "[red]car", "[bold"} <= rows


def test_a_class_that_only_val_has_is_in_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in root.glob("masks/train/*.png"):
        save_mask(path, np.zeros((64, 80), np.uint8))
    assert check("folder", "--root", "d") == 0
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert next(row for row in rows if row.startswith("class ")) == "class 0"
    assert {f"class {index}" for index in range(4)} <= set(rows)


@pytest.mark.parametrize("name", ["p.png", "p.JPG", "p.jpeg"])
def test_the_preview_is_a_picture(root: Path, name: str) -> None:
    assert check("folder", "--root", "d", "--preview", name) == 0
    with Image.open(name) as picture:
        assert picture.format == ("PNG" if name == "p.png" else "JPEG")
        assert max(picture.size) < 4000
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    if name == "p.png":
        shown = set(map(tuple, pixels.tolist()))
        assert {tuple(colour) for colour in class_colours(4).tolist()} <= shown
    assert sorted(path.name for path in root.parent.iterdir()) == sorted(["d", "runs", name])


def test_no_preview_of_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in root.glob("images/*/*.png"):
        path.write_bytes(b"")
    assert check("folder", "--root", "d", "--preview", "p.png", "--json") == 1
    assert result(capsys)["preview"] is None
    assert not Path("p.png").exists()


def test_splits_and_overrides(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("folder", "data.ignore_value=0", "--root", "d", "--json") == 1
    assert "data.ignore_value=0 is the id of class 'class 0'" in result(capsys)["problems"][0]
    assert check("folder", "data.reduce_zero_label=true", "--root", "d", "--split", "val", "--json") == 0
    found = result(capsys)
    assert found["splits"].keys() == {"val"}
    assert found["splits"]["val"]["ignored_share"] > 0.2
    assert check("textures", "data.val_images=5", "data.num_classes=3", "--split", "val", "--json") == 0
    found = result(capsys)
    assert (found["root"], found["splits"]["val"]["pixels"]) == (None, 5 * 64 * 64)


def test_what_was_counted_is_there_for_training(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("folder", "--root", "d", "--output", "o") == 0
    (tmp_path / "t.yaml").write_text(TRIAL)
    data = load_trial(tmp_path / "t.yaml", [f"data={{name: folder, root: {root}}}"]).data
    monkeypatch.setattr("essnet.data.kept_histogram.count_labels", None)
    for split in ("train", "val"):
        dataset = build_dataset(data, split)
        assert label_histogram(dataset, cache_dir=tmp_path / "o" / "cache").images == 8


BAD: list[tuple[list[str], str]] = [
    (["vok", "--root", "d"], "data.name: found 'vok'; did you mean voc?"),
    (["folder"], "data.root: is missing"),
    (["folder", "--root", "gone"], "gone: no such folder"),
    (["folder", "--root", "d/classes.txt"], "classes.txt: no such folder"),
    (["textures", "--root", "d"], "data.root: unknown key"),
    (["folder", "--root", "d", "--split", "tain"], "--split: found 'tain'; did you mean train?"),
    (["folder", "--root", "d", "trainer.max_steps=3"], "trainer.max_steps=3: expected an override of data"),
    (["folder", "--root", "d", "data.ignore=3"], "data.ignore: unknown key; did you mean data.ignore_value?"),
    (["folder", "--root", "d", "--preview", "p.gif"], "--preview: found p.gif; expected a file that ends in .png"),
    (["folder", "--root", "d", "--preview", "no/p.png"], "--preview: no: no such folder"),
    (["folder", "--root", "d", "--preview", "dir.png"], "--preview: dir.png is a folder"),
    (["folder", "--root", "d", "--output", "d/classes.txt"], "--output: cannot write below"),
    (["folder", "--root", "d", "--workers", "-1"], "--workers"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input(root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    Path("dir.png").mkdir()
    before = tree(root.parent)
    assert check(*arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""
    assert tree(root.parent) == before


def is_there(group: int) -> bool:
    """Whether a group of processes has one left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_ends_it_and_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "data", "check", "textures", "data.train_images=1000000"]
    with subprocess.Popen(
        [*command, "--workers", "1"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert "checking train: " in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in out
    deadline = time.monotonic() + 20
    while is_there(process.pid) and time.monotonic() < deadline:  # the last one sees that its pipe has ended, and goes
        time.sleep(0.05)
    assert not is_there(process.pid)
    assert list(tmp_path.iterdir()) == []

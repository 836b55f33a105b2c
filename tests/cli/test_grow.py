"""`launch.py grow` as people meet it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from essnet.cli.app import main
from essnet.training.checkpoint import open_checkpoint
from essnet.training.trainer import Trainer
from tests.cli.workplace import tree
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("place")
    make_folder_dataset(root / "data", num_images=4, size=(32, 32), num_classes=3)
    for objective in ("embedding_softmax", "full_softmax"):
        config = tiny_trial(
            {
                "data": {"name": "folder", "root": str(root / "data"), "crop_size": 32},
                "objective.name": objective,
                "objective.similarity": "dot",  # untrained embeddings are too much alike for the others
                "trainer.max_steps": 1,
                "evaluation.every_steps": 1,
            }
        )
        best = Trainer(config, directory=root / "run" / objective).train().best_checkpoint
        assert best is not None
        shutil.copytree(best, root / objective)
    make_folder_dataset(root / "examples", splits=("train",), num_images=3, size=(24, 40), num_classes=5)
    (root / "new.txt").write_text("class 3\nclass 4\n")
    (root / "more.txt").write_text("class 3\nclass 4\nclass 5\n")
    (root / "old.txt").write_text("class 3\nclass 1\n")
    (root / "twice.txt").write_text("class 3\nclass 3\n")
    (root / "empty.txt").write_text("")
    (root / "all").mkdir()
    make_folder_dataset(root / "grown-data", splits=("train", "val"), num_images=2, size=(32, 32), num_classes=5)
    return root


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code


def test_growing_evaluating_and_predicting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["grow", "embedding_softmax", "--classes", "new.txt", "--examples", "examples", "--learn", "2"]
    for name in ("tiny", "tiny-2"):
        assert run(*command, "--output", str(tmp_path), "--json") == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert Path(result["directory"]) == tmp_path / "grow" / name
    assert [(row["id"], row["name"]) for row in result["added"]] == [(3, "class 3"), (4, "class 4")]
    assert sum(row["pixels"] for row in result["added"]) > 500
    best = tmp_path / "grow" / "tiny-2" / "checkpoints" / "best"
    assert best.resolve() == Path(result["checkpoint"])
    assert open_checkpoint(best).classes.names == tuple(f"class {index}" for index in range(5))
    assert open_checkpoint(best).config.name == "tiny-2"
    assert open_checkpoint(best).classes.added == range(3, 5)

    assert run("evaluate", str(best), "data.root=grown-data", "--output", str(tmp_path), "--json") == 0
    evaluated = json.loads(capsys.readouterr().out.splitlines()[-1])
    ious = [row["iou"] for row in evaluated["classes"]]
    for name, some in (("old", ious[:3]), ("new", ious[3:])):
        there = [iou for iou in some if iou is not None]
        assert evaluated["metrics"][f"val/miou_{name}"] == pytest.approx(sum(there) / len(there))
    assert run("predict", str(best), "examples/images/train/000.png", "--output", str(tmp_path / "out")) == 0

    # What has grown may grow further.
    (tmp_path / "third.txt").write_text("class 0b\n")
    (tmp_path / "e").mkdir()
    shutil.copytree("examples", tmp_path / "e", dirs_exist_ok=True)
    (tmp_path / "e" / "classes.txt").write_text("class 0b\nclass 1\nclass 2\nclass 3\nclass 4\n")
    again = ["--classes", str(tmp_path / "third.txt"), "--examples", str(tmp_path / "e")]
    assert run("grow", str(best), *again, "--output", str(tmp_path), "--json") == 0
    grown = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["checkpoint"])
    assert open_checkpoint(grown).classes.added == range(3, 6)


GOOD = ["grow", "embedding_softmax", "--classes", "new.txt", "--examples", "examples"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grow"], "Missing argument 'CHECKPOINT'"),
        (["grow", "embedding_softmax"], "Missing option '--classes'"),
        ([*GOOD[:4]], "--examples: is missing; new classes are found from labelled pixels"),
        (["grow", "gone", *GOOD[2:]], "gone: no such checkpoint"),
        (["grow", "data", *GOOD[2:]], "data: is no checkpoint"),
        (["grow", "full_softmax", *GOOD[2:]], "full_softmax: is a full_softmax, which cannot grow: its output layer"),
        ([*GOOD, "--classes", "gone.txt"], "gone.txt"),
        ([*GOOD, "--classes", "empty.txt"], "empty.txt: holds no class name"),
        ([*GOOD, "--classes", "twice.txt"], "twice.txt: line 2 repeats 'class 3' of line 1"),
        ([*GOOD, "--classes", "old.txt"], "old.txt: line 2: 'class 1' is class 1 of the checkpoint already"),
        ([*GOOD, "--classes", "more.txt"], "--examples: no pixel is labelled 'class 5'; each new class needs some"),
        ([*GOOD, "--examples", "gone"], "--examples: gone: no such folder"),
        ([*GOOD, "--examples", "all"], "all/classes.txt"),
        ([*GOOD, "--ignore-value", "3"], "--ignore-value: 3 is the id of 'class 3' in examples/classes.txt"),
        ([*GOOD, "--learn", "-1"], "--learn"),
        ([*GOOD, "--device", "cuda:77"], "--device: found 'cuda:77', but torch sees"),
        ([*GOOD, "--output", "new.txt"], "new.txt, which is a file"),
    ],
)
def test_wrong_input(arguments: list[str], words: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(place)
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert tree(place) == before


def test_a_class_of_the_examples_that_nobody_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("examples", tmp_path / "examples")
    (tmp_path / "examples" / "classes.txt").write_text("class 0\nclass 1\nclass 2\nclass 3\nclas 4\n")
    arguments = [*GOOD, "--examples", str(tmp_path / "examples"), "--output", str(tmp_path / "out")]
    assert run(*arguments) == 2
    assert "'clas 4' is neither a class of the checkpoint nor one that --classes adds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""What happens when the disk is full: files larger than the process may write stand for it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from essnet.cli.app import main
from essnet.data import ClassTable
from essnet.training.checkpoint import open_checkpoint
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.result import read_history
from essnet.training.trainer import Trainer
from tests.file_system_calls import refused_from
from tests.training.tiny import assert_same, tiny_mapping, tiny_trial

LIMIT = 2**21  # a store of runs is smaller, and a network of these tests larger


@contextmanager
def full_disk(limit: int = LIMIT) -> Iterator[None]:
    """Refuse to write beyond the limit: the libraries meet the system's own error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save(folder: CheckpointFolder, step: int, **parts: Any) -> None:
    small = {"weights": {"a": torch.ones(2)}, "trainer_state": {"step": step}, "classes": ClassTable(("sky", "sea"))}
    folder.save(step, best_step=1, config=tiny_trial(), **{**small, **parts})


@pytest.mark.parametrize(
    ("part", "large"),
    [
        ("weights", {"a": torch.ones(LIMIT)}),
        ("trainer_state", {"a": torch.ones(LIMIT)}),
        ("classes", ClassTable(tuple(f"class {index}" for index in range(LIMIT // 16)))),
    ],
    ids=["weights", "state", "classes"],
)
def test_one_line_says_so_and_the_checkpoint_before_stays(tmp_path: Path, part: str, large: Any) -> None:
    folder = CheckpointFolder(tmp_path)
    save(folder, 1)
    with full_disk(), pytest.raises(OSError, match=rf"^{tmp_path}/step-000002: cannot be written \(.+\)") as caught:
        save(folder, 2, **{part: large})
    assert str(caught.value).endswith(" MiB are free; checkpoints before it are as they were")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"step-000001", "last", "best"}
    whole = folder.newest_whole()
    assert whole is not None
    assert whole.trainer_state == {"step": 1}
    save(folder, 2, **{part: large})  # there is room again
    assert folder.last() == tmp_path / "step-000002"


def test_the_run_ends_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    disk = ExitStack()

    def progress(step: int, _: Any) -> None:
        if step == 3:  # the first checkpoint is written, or being written
            trainer._writer.wait()
            disk.enter_context(full_disk())

    config = tiny_trial({"evaluation.every_steps": 6, "trainer.checkpoint_every_steps": 2})
    directory = tmp_path / "run"
    trainer = Trainer(config, directory=directory, progress=progress)
    with disk, pytest.raises(OSError, match=r"step-000004: cannot be written"):
        trainer.train()
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"step-000002", "last"}
    assert not (directory / "result.json").exists()

    resumed = Trainer(config, directory=directory, resume=True)
    assert resumed.step == 2
    resumed.train()
    whole = Trainer(config, directory=tmp_path / "whole").train().last_checkpoint
    assert whole is not None
    assert_same(open_checkpoint(directory / "checkpoints" / "last").weights(), open_checkpoint(whole).weights())


EVERY_KIND_OF_FILE = {
    "objective.name": "knn_softmax",
    "data.val_images": 2,
    "trainer.max_steps": 2,
    "evaluation.num_pictures": 1,
}


class Refused:
    """A run that the disk refuses something, and what is left of it."""

    def __init__(self, directory: Path, disk: AbstractContextManager[Any]) -> None:
        self.directory = directory
        self.message = ""
        trainer = Trainer(tiny_trial(EVERY_KIND_OF_FILE), directory=directory)
        with disk:
            try:
                trainer.train()
            except OSError as error:
                self.message = str(error)

    def check(self) -> None:
        """One line that names a file of the run, and nothing half-written."""
        assert str(self.directory) in self.message
        assert "\n" not in self.message
        assert not (self.directory / "result.json").exists()
        self._check_files()

    def go_on(self) -> None:
        """There is room again."""
        resumed = Trainer(tiny_trial(EVERY_KIND_OF_FILE), directory=self.directory, resume=True).train()
        assert resumed.steps == 2
        assert [entry["step"] for entry in read_history(self.directory / "history.jsonl")] == [2]
        self._check_files()

    def _check_files(self) -> None:
        assert not list(self.directory.rglob("*.partial"))
        for path in self.directory.rglob("*.json"):
            json.loads(path.read_text())
        for path in self.directory.rglob("*.png"):
            Image.open(path).load()


def test_whichever_file_it_is_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first, the second, and so on, with all that follow; until there are none to refuse."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it takes its time, and power is not lost here
    refused: dict[str, Refused] = {}
    for number in itertools.count():
        directory = tmp_path / str(number)
        run = Refused(directory, refused_from(number, directory))
        if not run.message:
            break
        run.check()
        refused.setdefault(run.message.replace(str(directory), ""), run)
    for kind in ("history.jsonl", "predictions", "first_batch.png", "evaluation", "checkpoints", "result.json"):
        assert any(kind in message for message in refused), kind
    for run in refused.values():
        run.go_on()


@pytest.mark.parametrize("number", range(0, 40, 8))
def test_a_disk_that_becomes_read_only(tmp_path: Path, number: int) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    run = Refused(directory, refused_from(number, directory, reason=errno.EROFS))
    assert "Read-only file system" in run.message
    assert str(directory) in run.message
    run.go_on()


@pytest.mark.parametrize("limit", [0, 500, 2000, 8000])
def test_a_file_that_is_cut_off(tmp_path: Path, limit: int) -> None:
    run = Refused(tmp_path / "run", full_disk(limit))
    assert run.message
    run.check()
    run.go_on()


@pytest.mark.slow
def test_the_command_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, output = tmp_path / "tiny.yaml", tmp_path / "runs"
    config.write_text(yaml.safe_dump(tiny_mapping({"evaluation.every_steps": 6})))
    with full_disk(), pytest.raises(SystemExit) as exited:
        main(["train", str(config), "--output", str(output)])
    assert exited.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"essnet: OSError: {output}/train/tiny/checkpoints/step-000006: cannot be written")

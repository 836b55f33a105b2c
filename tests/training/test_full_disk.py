"""What happens when the disk is full: files larger than the process may write stand for it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from essnet.cli.app import main
from essnet.data import ClassTable
from essnet.training.checkpoint import open_checkpoint
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.trainer import Trainer
from tests.training.tiny import assert_same, tiny_mapping, tiny_trial

LIMIT = 2**21  # a store of runs is smaller, and a network of these tests larger


@contextmanager
def full_disk() -> Iterator[None]:
    """Refuse to write beyond the limit: the libraries meet the system's own error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
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


@pytest.mark.slow
def test_the_command_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, output = tmp_path / "tiny.yaml", tmp_path / "runs"
    config.write_text(yaml.safe_dump(tiny_mapping({"evaluation.every_steps": 6})))
    with full_disk(), pytest.raises(SystemExit) as exited:
        main(["train", str(config), "--output", str(output)])
    assert exited.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"essnet: OSError: {output}/train/tiny/checkpoints/step-000006: cannot be written")

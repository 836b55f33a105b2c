"""A process that loads data and is stuck in a sample, or is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from torchvision import tv_tensors

from essnet.data import loader_watch
from essnet.data.loader_watch import LoaderFailed, ReadingNow
from essnet.data.loading import eval_loader
from essnet.data.textures import TexturesDataset

STUCK, DEADLY = 3, 4


class BadDisk(TexturesDataset):
    """Scenes of which one never comes, until its pipe has a writer, and one ends the process that reads it."""

    def __init__(self, pipe: Path) -> None:
        super().__init__(split="val", num_classes=5, size=(8, 8), length=6)
        self._pipe = pipe
        os.mkfifo(pipe)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        if index == STUCK:
            self._pipe.read_bytes()
        if index == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

    def describe(self, index: int) -> str:
        return f"scene {index}.jpg"


def failure(dataset: BadDisk, *, num_workers: int) -> tuple[str, int]:
    """What reading the data set ends in, and how many batches came before."""
    batches = 0
    try:
        for _ in eval_loader(dataset, batch_size=1, num_workers=num_workers):
            batches += 1
    except LoaderFailed as error:
        return str(error), batches
    return "no failure", batches


def test_a_worker_that_is_stuck_is_told_with_its_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_watch, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(loader_watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(f"{__name__}.DEADLY", -1)
    message, batches = failure(BadDisk(tmp_path / "pipe"), num_workers=1)
    assert message.startswith("scene 3.jpg: has been read for ")
    assert message.endswith(" s without end; is the disk or the server there that it lies on?")
    assert batches <= STUCK


def test_one_that_is_only_slow_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(f"{__name__}.DEADLY", -1)
    dataset = BadDisk(tmp_path / "pipe")
    look, looks = ReadingNow.look, []

    def counted_look(self: ReadingNow) -> None:
        look(self)
        looks.append(self)
        if len(looks) == 5:
            (tmp_path / "pipe").write_bytes(b"")

    monkeypatch.setattr(ReadingNow, "look", counted_look)
    assert failure(dataset, num_workers=1) == ("no failure", 6)
    assert len(looks) >= 5


def test_a_worker_that_is_killed_is_told_with_its_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.STUCK", -1)
    message, batches = failure(BadDisk(tmp_path / "pipe"), num_workers=1)
    assert re.fullmatch(
        r"process \d+, which loads data, is gone while it read scene 4\.jpg; was there enough memory\?", message
    )
    assert batches <= DEADLY


def test_a_process_that_reads_by_itself_is_ended_when_it_is_stuck(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from essnet.data import loader_watch; from essnet.data.loading import eval_loader\n"
        "from tests.data.test_loader_watch import BadDisk\n"
        "loader_watch.PATIENCE_SECONDS, loader_watch.LOOK_SECONDS = 0.5, 0.1\n"
        "with loader_watch.last_words(lambda words: print(f'last words: {words}', flush=True)):\n"
        "    for _ in eval_loader(BadDisk(Path(sys.argv[1])), batch_size=1): print('batch', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "pipe")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert done.stdout.splitlines() == ["batch"] * STUCK + [f"last words: {line}"]
    assert line.startswith("scene 3.jpg: has been read for ")


def test_the_watch_ends_with_the_reading(tmp_path: Path) -> None:
    loader = eval_loader(TexturesDataset(split="val", num_classes=5, size=(8, 8), length=2), batch_size=1)

    def watches() -> int:
        return sum(thread.name == "loader watch" for thread in threading.enumerate())

    before = watches()
    batches = iter(loader)
    next(batches)
    assert watches() == before + 1
    del batches
    deadline = time.monotonic() + 60
    while watches() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)

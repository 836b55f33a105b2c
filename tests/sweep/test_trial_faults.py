"""What a trial says of itself where memory, the disk, or a process that loads its data fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from essnet.data import loader_watch
from essnet.sweep import trainable
from tests.file_system_calls import refused_from
from tests.sweep.untracked_trial import untracked_task

SHORT = {"trainer.max_steps": 2}


def kept_failure(directory: Path) -> dict[str, str]:
    failure: dict[str, str] = json.loads((directory / "error.json").read_text())
    assert "\n" not in failure["message"]
    return failure


@contextmanager
def memory_for(mib: int) -> Iterator[None]:
    """Let this process have so much more memory than it has."""
    has_kib = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, ((int(has_kib.split()[1]) << 10) + (mib << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_out_of_memory_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of so many classes, 4 x 50,000 x 64 x 64, take three times what there is."""
    large = {"data.num_classes": 50_000, "data.crop_size": 64, "objective.name": "full_softmax"}
    task = untracked_task(tmp_path, monkeypatch, **large, **SHORT)
    with memory_for(1024):
        trainable.run_trial(task)  # nothing is raised: what would come again Ray need not try again
    directory = Path(task["directory"])
    failure = kept_failure(directory)
    assert failure["kind"] == "out_of_memory"
    assert "memory" in failure["message"]
    assert failure["message"].split(":")[0] in (directory / "log.txt").read_text()
    assert not list(directory.rglob("*.partial"))


def test_a_disk_that_refuses_is_never_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, its lock, its log, its configuration, and what comes then: the driver hears of it, or reads it."""
    for number in range(8):
        task = untracked_task(tmp_path / str(number), monkeypatch, **SHORT)
        directory = Path(task["directory"])
        with refused_from(number, directory) as refused, pytest.raises(OSError, match="No space left on device"):
            trainable.run_trial(task)
        assert refused
        assert not list(directory.rglob("*.partial"))
        trainable.run_trial(task)
        assert json.loads((directory / "result.json").read_text())["steps"] == 2


def test_a_log_that_cannot_be_written_ends_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = untracked_task(tmp_path, monkeypatch, **SHORT)
    log = Path(task["directory"]) / "log.txt"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    trainable.run_trial(task)
    assert (log.parent / "result.json").exists()
    assert capsys.readouterr().err == ""


def test_a_loader_that_is_killed_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = untracked_task(tmp_path, monkeypatch, **{"trainer.max_steps": 20, "data.num_workers": 1})
    directory = Path(task["directory"])

    def kill_loaders(metrics: dict[str, Any]) -> None:
        for process in multiprocessing.active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(trainable.tune, "report", kill_loaders)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            trainable.run_trial(task)
        except RuntimeError as error:  # for Ray, which tries it again
            raised.append(error)

    # In a sweep it is not the main thread either, where torch tells by a signal.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGCHLD, handler)
    assert len(raised) == 1
    failure = kept_failure(directory)
    assert failure["kind"] == "crash"
    assert failure["message"].startswith("LoaderFailed: process ")
    assert failure["message"].endswith("; was there enough memory?")

    monkeypatch.setattr(trainable.tune, "report", lambda metrics: None)
    trainable.run_trial(task)
    assert json.loads((directory / "result.json").read_text())["steps"] == 20
    assert "step 2 of 20: training begins" in (directory / "log.txt").read_text()


def test_a_sample_that_never_comes_is_named_though_the_process_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended

    sentence = "scene 3.jpg: has been read for 600 s without end"
    monkeypatch.setattr(loader_watch, "os", SimpleNamespace(_exit=end))
    monkeypatch.setattr(trainable, "_train", lambda *_, **__: loader_watch._end(sentence))
    task = untracked_task(tmp_path, monkeypatch)
    with pytest.raises(Ended):
        trainable.run_trial(task)
    assert kept_failure(Path(task["directory"])) == {"kind": "crash", "message": sentence, "traceback": ""}

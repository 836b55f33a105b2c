"""`report` in every format, of several sweeps, and while a sweep runs."""

from __future__ import annotations

import itertools
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from essnet.cli.app import main
from essnet.file_lock import hold
from essnet.sweep.folder import COMPLETED, RUNNING, SweepFolder
from tests.file_system_calls import refused_from
from tests.report.sweep_folders import add_trial, make_sweep_folder

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 120


def make_sweep(path: Path, *, running: bool = False) -> SweepFolder:
    folder = make_sweep_folder(path, num_trials=2)
    add_trial(folder, 0, "full", {20: {"val/miou": 0.8}})
    state = RUNNING if running else COMPLETED
    add_trial(folder, 1, "knn", {10: {"val/miou": 0.5}, 20: {"val/miou": 0.7}}, state=state,
              objective={"name": "knn_softmax"})  # fmt: skip
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as exited:
        main(["report", *arguments])
    written = capsys.readouterr()
    return exited.value.code, written.out, written.err


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("terminal", "sweep study after 20 steps"),
        ("csv", "trial_id,arm,seed"),
        ("markdown", "**sweep study after 20 steps**"),
        ("latex", "% Best so far: k-nearest"),
        ("json", '{"sweep": "study"'),
    ],
)
def test_each_format_goes_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, first: str
) -> None:
    make_sweep(tmp_path / "study")
    code, out, err = run(capsys, "study", "--format", form, "--output", str(tmp_path))
    assert (code, err) == (0, "")
    assert out.startswith(first)
    assert "001-knn" in out


@pytest.mark.parametrize("form", ["terminal", "csv", "markdown", "latex", "html"])
def test_json_is_the_last_line_and_the_only_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    make_sweep(tmp_path / "study")
    code, out, _ = run(capsys, "study", "--format", form, "--json", "--output", str(tmp_path))
    assert code == 0
    (line,) = out.splitlines()
    assert json.loads(line)["best"] == "001-knn"


def test_the_page_goes_into_the_sweeps_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path / "study")
    code, out, _ = run(capsys, "study", "--format", "html", "--output", str(tmp_path))
    assert (code, out.strip()) == (0, str(folder.path / "comparison.html"))
    assert "<!doctype html>" in (folder.path / "comparison.html").read_text(encoding="utf-8")


def test_the_page_of_several_or_of_another_folder_goes_into_the_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        make_sweep(tmp_path / "theirs" / name)
    sweeps, mine = [str(tmp_path / "theirs" / name) for name in ("one", "two")], tmp_path / "mine"
    code, out, _ = run(capsys, *sweeps, "--format", "html", "--output", str(mine))
    assert (code, out.strip()) == (0, str(mine / "comparison-one-two.html"))
    code, out, _ = run(capsys, sweeps[0], "--format", "html", "--output", str(mine))
    assert (code, out.strip()) == (0, str(mine / "comparison-one.html"))
    assert sorted(path.name for path in mine.iterdir()) == ["comparison-one-two.html", "comparison-one.html"]


def test_the_best_checkpoint_is_named_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path / "study")
    assert "best checkpoint" not in run(capsys, "study", "--output", str(tmp_path))[1]
    best = folder.trial("001-knn") / "checkpoints" / "best"
    best.mkdir(parents=True)
    assert run(capsys, "study", "--output", str(tmp_path))[1].splitlines()[-1] == f"best checkpoint: {best}"


def test_several_sweeps_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        make_sweep(tmp_path / name)
    code, out, _ = run(capsys, "one", "two", "one", "--output", str(tmp_path))  # named twice is there once
    assert code == 0
    assert out.count("one/000-full") == out.count("two/000-full") == 1
    assert "two: Best so far: k-nearest" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "essnet: nowhere: no such sweep; known are study\n"),
        (["study", "--watch", "--format", "csv"], "essnet: --watch: found --format csv, which is written once; take "),
    ],
)
def test_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    make_sweep(tmp_path / "study")
    code, out, err = run(capsys, *arguments, "--output", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith(message)


def test_watching_a_sweep_that_does_not_run_shows_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path / "study")
    code, out, _ = run(capsys, "study", "--watch", "--output", str(tmp_path))
    assert code == 0
    assert out.count("sweep study after 20 steps") == 1


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Watching:
    """`report --watch` as a process of its own, with what it has written so far; on a terminal, or in a pipe."""

    def __init__(self, output: Path, *arguments: str, terminal: bool) -> None:
        command = [sys.executable, str(ROOT / "launch.py"), "report", "study", "--watch", *arguments]
        command += ["--output", str(output)]
        reader, writer = pty.openpty() if terminal else os.pipe()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        self._process = subprocess.Popen(command, stdout=writer, stderr=writer, env=environment)
        os.close(writer)
        self.text = ""
        self._reader = threading.Thread(target=self._read, args=(reader,))
        self._reader.start()

    def _read(self, reader: int) -> None:
        while True:
            select.select([reader], [], [])
            try:
                content = os.read(reader, 65536)
            except OSError:  # what a terminal says at its end
                content = b""
            if not content:
                os.close(reader)
                return
            self.text += content.decode("utf-8", errors="replace")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def end(self) -> int:
        code = self._process.wait(timeout=DEADLINE_SECONDS)
        self._reader.join()
        return code


def finish(folder: SweepFolder) -> None:
    with (folder.trial("001-knn") / "history.jsonl").open("a") as file:
        file.write(json.dumps({"step": 30, "metrics": {"val/miou": 0.75}}) + "\n")
    folder.write_record(replace(folder.record("001-knn"), state=COMPLETED))


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_follows_the_sweep_to_its_end(tmp_path: Path, terminal: bool) -> None:
    folder = make_sweep(tmp_path / "study", running=True)
    with ExitStack() as sweep:
        sweep.enter_context(hold(folder.path / "lock"))
        with Watching(tmp_path, terminal=terminal) as watching:
            wait_for(lambda: "0.700" in watching.text)
            assert "0.750" not in watching.text
            finish(folder)
            wait_for(lambda: "0.750" in watching.text)
            sweep.close()  # the driver is gone
            assert watching.end() == 0
    if not terminal:
        assert "001-knn  running  step 20  val/miou 0.700\n" in watching.text
        assert "001-knn  completed  step 30  val/miou 0.750\n" in watching.text
        assert "\x1b" not in watching.text
        assert watching.text.count("sweep study") == 1  # the table comes at the end
    assert "one seed each: no winner is named" in " ".join(watching.text.split())


def test_ctrl_c_ends_watching_and_nothing_else(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "study", running=True)
    with hold(folder.path / "lock"), Watching(tmp_path, terminal=False) as watching:
        wait_for(lambda: "step 20" in watching.text)
        watching.interrupt()
        assert watching.end() == 130
    assert watching.text.endswith("essnet: interrupted\n")


def test_the_page_is_written_again_while_the_sweep_runs(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "study", running=True)
    page = folder.path / "comparison.html"
    with hold(folder.path / "lock"), Watching(tmp_path, "--format", "html", terminal=False) as watching:
        wait_for(lambda: page.exists() and "0.700" in page.read_text(encoding="utf-8"))
        finish(folder)
        wait_for(lambda: "0.750" in page.read_text(encoding="utf-8"))
        watching.interrupt()
        assert watching.end() == 130
    assert str(page) in watching.text


def test_a_disk_that_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file, whichever it is; what was there stays, and nothing else comes."""
    folder = make_sweep(tmp_path / "study").path
    report = ("study", "--format", "html", "--output", str(tmp_path))
    assert run(capsys, *report)[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refusals = []
    for number in itertools.count():
        with refused_from(number, tmp_path) as refused:
            code, _, err = run(capsys, *report)
        if not refused:
            break
        refusals.append(err)
        (line,) = err.splitlines()
        assert code == 1
        assert line.startswith(f"essnet: OSError: [Errno 28] No space left on device: '{folder}/comparison.")
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert refusals

"""docs/tutorial.md from its first command to its last, as a reader types them, on the images that it draws."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import pytest

from essnet.cli import app
from tests.docs.documented import ROOT, blocks, lines_of, spans

PAGE = ROOT / "docs" / "tutorial.md"
SHORTER = ["trainer.max_steps=2", "evaluation.every_steps=2", "trainer.batch_size=2"]
"""What the test adds to commands that train: a reader waits some minutes for them."""
ELSEWHERE = {
    "make install": "the test runs in what it has made",
    ". .venv/bin/activate": "so does PATH here",
}
DEADLINE_SECONDS = 240


def typed() -> list[str]:
    return [line for block in blocks(PAGE) if block.language == "sh" for line in lines_of(block.text)]


@contextmanager
def terminal(line: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that stays, as in another terminal, and end it."""
    with (folder / "terminal.log").open("w") as log:
        process = subprocess.Popen(shlex.split(line), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def essnet(line: str) -> None:
    arguments = shlex.split(line)[2:]
    trains = arguments[0] in ("train", "sweep") and "--dry-run" not in arguments
    with pytest.raises(SystemExit) as ended:
        app.main([*arguments, *(SHORTER if trains else [])])
    # doctor's 1 is not that it failed, but that this machine lacks something.
    assert ended.value.code in ((None, 0, 1) if arguments == ["doctor"] else (None, 0)), line


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_of_images_becomes_a_served_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # launch.py would put it on the path of Ray's workers
    commands = [line for line in typed() if line not in ELSEWHERE]
    assert len(typed()) - len(commands) == len(ELSEWHERE)
    with ExitStack() as running, chdir(tmp_path):
        for line in commands:
            line = line.replace("5001", str(port))
            if line.startswith("python launch.py "):
                essnet(line)
            elif line.startswith("export "):
                name, value = line.removeprefix("export ").split("=", 1)
                monkeypatch.setenv(name, value)
            elif line.startswith("mlflow models serve "):
                wait_for(port, running.enter_context(terminal(line, tmp_path)), tmp_path / "terminal.log")
            else:
                subprocess.run(["bash", "-c", line], check=True)

    written = capsys.readouterr().out
    assert "nothing is wrong" in written
    assert "best checkpoint: " in written
    assert (tmp_path / "sheet.png").is_file()
    assert (tmp_path / "runs/mine/comparison.html").is_file()
    overlays = sorted(path.name for path in (tmp_path / "predictions").rglob("*_overlay.png"))
    assert len(overlays) == len(list((tmp_path / "my_data/images/val").iterdir()))
    answer = json.loads((tmp_path / "answer.json").read_text())
    (ids,) = answer["predictions"]
    assert {id_ for row in ids for id_ in row} <= set(range(7))
    assert (len(ids), len(ids[0])) == (160, 128)
    named = [text for _, text in spans(PAGE) if text.startswith("runs/")]
    assert len(named) >= 2
    assert [text for text in named if not (tmp_path / text).exists()] == []

"""A real sweep on a machine with strangers, that is suspended, begun twice, and runs out of disk."""

from __future__ import annotations

import ipaddress
import json
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from essnet.cli.app import main
from tests.sockets import listening
from tests.sweep.sweeps import write_sweep
from tests.sweep.test_on_ray import LONG, SHORT_ARMS, command, result_of, run, wait_for_checkpoint

STEPS = 120
SUSPENDED_SECONDS = float(os.environ.get("ESSNET_SUSPENDED_SECONDS", "1"))
"""How long each of three suspensions takes."""
UMASK = 0o027

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600 + 3 * SUSPENDED_SECONDS),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process"),
]


def session_of(leader: int) -> list[psutil.Process]:
    """The processes of a session: a sweep's driver, Ray's own, and those of trials."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def steps_taken(folder: Path) -> int:
    return sum(json.loads(path.read_text())["step"] for path in folder.glob("runs/tiny/trials/*/progress.json"))


def wait_for_steps(folder: Path, driver: subprocess.Popen[str], steps: int) -> None:
    deadline = time.monotonic() + 120
    while steps_taken(folder) < steps:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wrong_modes(folder: Path) -> Iterator[tuple[str, str]]:
    """Files and folders that are not for whom the umask says, sockets and Ray's own aside."""
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        expected = {stat.S_IFDIR: 0o777, stat.S_IFREG: 0o666}.get(stat.S_IFMT(mode))
        if expected is not None and "ray" not in path.parts and stat.S_IMODE(mode) != expected & ~UMASK:
            yield str(path.relative_to(folder)), oct(mode)


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def begin_again(folder: Path, capsys: pytest.CaptureFixture[str], *resume: str) -> str:
    """Begin the sweep while it runs; return what is said to that."""
    with pytest.raises(SystemExit) as exited:
        main(["sweep", str(folder / "sweep.yaml"), "--output", str(folder / "runs"), *resume])
    assert exited.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def suspend(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.suspend()
    deadline = time.monotonic() + 60
    while {process.status() for process in processes} != {psutil.STATUS_STOPPED}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(SUSPENDED_SECONDS)  # for whoever waits for them to notice


def test_what_a_machine_may_do_to_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, base={**LONG, "trainer": {**LONG["trainer"], "max_steps": STEPS}}, arms=SHORT_ARMS)
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, umask=UMASK,
    ) as driver:  # fmt: skip
        try:
            wait_for_checkpoint(tmp_path, driver)
            processes = session_of(driver.pid)
            assert len(processes) > 5
            addresses = listening(processes)
            assert addresses
            assert [address for address in addresses if not is_loopback(address)] == []
            assert list(wrong_modes(tmp_path / "runs")) == []
            (raylet,) = (process for process in processes if process.name() == "raylet")
            assert raylet.environ()["RAY_AUTH_MODE"] == "token"
            token = raylet.environ()["RAY_AUTH_TOKEN"]
            assert len(token) == 64
            assert not [process for process in processes if token in " ".join(process.cmdline())]

            assert "go on with --resume" in begin_again(tmp_path, capsys)
            assert f"in process {driver.pid};" in begin_again(tmp_path, capsys, "--resume")

            workers = [process for process in processes if "ray::" in " ".join(process.cmdline())]
            assert workers
            for suspended in ([psutil.Process(driver.pid)], workers, processes):
                suspend(suspended)
                before = steps_taken(tmp_path)
                for process in suspended:
                    process.resume()
                wait_for_steps(tmp_path, driver, before + 5)

            # The driver's disk takes no byte more: the next trial that ends cannot be noted.
            psutil.Process(driver.pid).rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            text, _ = driver.communicate(timeout=300)
        finally:
            driver.kill()
    assert driver.returncode == 1, text
    assert text.splitlines()[-1].startswith("essnet: OSError: [Errno 27] File too large: "), text
    assert "Traceback" not in text, text
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.wait(timeout=60)
    assert list((tmp_path / "runs" / "tiny").rglob("*.partial")) == []

    resumed = run(tmp_path, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert [(trial["state"], trial["steps"]) for trial in result_of(resumed)["trials"]] == [("COMPLETED", STEPS)] * 3

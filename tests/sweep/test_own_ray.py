"""Ray of a sweep's own ends with the sweep, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SCRIPT = """
import sys
import essnet.sweep.runner
from essnet.sweep.own_ray import own_ray
from essnet.sweep.resources import Capacity, Node, Placement
with own_ray(Placement(Capacity((Node(cpus=1, gpus=0),)), cpus=1, gpus=0)):
    print("up", flush=True)
    sys.stdin.readline()
print("down", flush=True)
"""


def tree_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[str]:
    def name_of(process: psutil.Process) -> str | None:
        try:
            return None if process.status() == psutil.STATUS_ZOMBIE else process.name()
        except psutil.NoSuchProcess:
            return None

    return [name for name in map(name_of, processes) if name is not None]


def begun() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def started() -> subprocess.Popen[str]:
    process = begun()
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_no_process_of_ray_outlives_a_killed_driver_for_long() -> None:
    """Its agents would for a minute."""
    process = started()
    family = tree_of(process)
    assert any("raylet" in name for name in alive(family))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 40
    while alive(family) and time.monotonic() < until:
        time.sleep(0.2)
    process.communicate()
    assert alive(family) == []


def test_no_process_is_left_after_an_orderly_end() -> None:
    process = started()
    family = tree_of(process)
    output, _ = process.communicate("\n", timeout=60)
    assert output == "down\n"
    assert process.returncode == 0
    assert alive(family) == []


@pytest.mark.parametrize("times", [1, 2])
def test_no_process_is_left_where_it_is_interrupted_as_it_starts(times: int) -> None:
    """The first time it starts, and ends in order; the second time what has been started is killed."""
    process = begun()
    try:
        until = time.monotonic() + 60
        while not any("DashboardA" in name for name in alive(tree_of(process))):  # one of raylet's agents
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        family = tree_of(process)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)  # else the two are one
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "down" not in output
    assert alive(family) == []

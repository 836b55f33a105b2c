from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from essnet.workers import WorkerDied, Workers

MODULE = "essnet.coco_lvis.label_space"
ROOT = Path(__file__).resolve().parents[1]


def square(number: int) -> int:
    return number * number


def process_of(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def fail(number: int) -> int:
    raise ValueError(f"task {number}")


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_every_task_is_worked_off_once(count: int) -> None:
    with Workers(count, module=MODULE) as workers:
        assert sorted(workers.map(square, range(20))) == [number * number for number in range(20)]
        assert list(workers.map(square, [])) == []
        assert sorted(workers.map(abs, [-3])) == [3]


def test_all_processes_work_and_none_is_this_one() -> None:
    with Workers(2, module=MODULE) as workers:
        processes = set(workers.map(process_of, range(12)))
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_arrives_as_it_is(count: int) -> None:
    with Workers(count, module=MODULE) as workers, pytest.raises(ValueError, match="task 3"):
        list(workers.map(fail, [3]))


def test_a_worker_that_dies_is_told() -> None:
    with (
        Workers(1, module=MODULE) as workers,
        pytest.raises(WorkerDied, match=r"killed by SIGKILL.*same command again"),
    ):
        list(workers.map(die, [1]))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not show its processes in /proc")
def test_workers_end_with_a_caller_that_is_killed() -> None:
    program = (
        "import sys, time\n"
        "from essnet.workers import Workers\n"
        "from tests.test_workers import process_of\n"
        "if __name__ == '__main__':\n"
        f"    with Workers(2, module={MODULE!r}) as workers:\n"
        "        for process in workers.map(process_of, range(10**6)):\n"
        "            print(process, flush=True)\n"
    )
    script = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None
    workers = {int(script.stdout.readline()) for _ in range(12)}
    script.kill()
    script.wait()
    script.stdout.close()
    deadline = time.monotonic() + 20
    while any(alive(process) for process in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie waits for whoever has adopted it

"""The soak: that it sees what grows, and nothing where nothing does."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sessions import Session
from benchmarks.soak import Soak, sweep_of
from benchmarks.soak_growth import FIGURES, growth_of, save_plot
from benchmarks.soak_watch import Watch, folder_mib
from essnet.config import load_sweep
from essnet.sweep.plan import plan_trials


def records(**figures: list[float]) -> list[dict[str, Any]]:
    count = len(next(iter(figures.values())))
    return [
        dict.fromkeys(FIGURES, 7.0)
        | {"sweep": place, "interruption": None, "problems": [], "seconds": 30.0, "trials": 12}
        | {name: values[place] for name, values in figures.items()}
        for place in range(count)
    ]


def test_what_grows_is_told_from_noise() -> None:
    rng = random.Random(0)
    noise = [rng.gauss(100, 5) for _ in range(40)]
    leak = [value + place for place, value in enumerate(noise)]
    first_only = [500.0] + [100.0] * 39
    growth = growth_of(records(driver_mib=noise, worker_mib=leak, threads=first_only))
    assert growth["driver_mib"]["flat"]
    assert not growth["worker_mib"]["flat"]
    assert growth["worker_mib"]["growth"] == pytest.approx(39 / 120, abs=0.1)
    assert growth["threads"] == {"median": 100.0, "growth": 0.0, "flat": True}


def test_a_few_sweeps_are_too_few_to_tell() -> None:
    assert growth_of(records(driver_mib=[1.0, 2.0, 3.0, 4.0]))["driver_mib"]["flat"] is None
    assert growth_of([])["driver_mib"]["flat"] is None


def test_what_a_process_takes_is_seen() -> None:
    session = Session(f"test {time.monotonic_ns()}")
    program = (
        "import threading; wait = threading.Event().wait; memory = bytearray(50 << 20)\n"
        "files = [open('/dev/null') for _ in range(50)]\n"
        "threads = [threading.Thread(target=wait, daemon=True) for _ in range(7)]\n"
        "for thread in threads: thread.start()\n"
        "wait()"
    )
    process = session.start([sys.executable, "-c", program], folder=Path("/"), log=Path("/dev/null"))
    try:
        watch = Watch(session, process.pid)
        deadline = time.monotonic() + 60
        while watch.largest["driver_threads"] < 8:
            assert time.monotonic() < deadline
            watch.look()
            time.sleep(0.05)
    finally:
        session.kill_all()
        process.wait()
    assert watch.largest["driver_mib"] > 50
    assert 50 <= watch.largest["driver_descriptors"] == watch.largest["descriptors"] < 100
    assert watch.largest["processes"] == 1
    assert watch.largest["worker_mib"] == 0


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(3 << 20))
    assert folder_mib(tmp_path) == folder_mib(tmp_path / "a" / "b") + (tmp_path / "a").lstat().st_size / 2**20
    assert folder_mib(tmp_path / "nothing") == 0


def test_its_sweep_and_its_records(tmp_path: Path) -> None:
    soak = Soak(tmp_path, trials=12, seed=0)
    assert len(plan_trials(load_sweep(tmp_path / "sweep.yaml"))) == 12
    assert sweep_of(12)["search"]["num_trials"] == 11
    assert soak.summary()["grew"] == []
    soak.records = records(driver_mib=[float(number) for number in range(1, 20)])
    soak.records[3]["problems"] = ["ended 12.0 s after Ctrl-C"]
    summary = soak.summary()
    assert summary["grew"] == ["driver_mib"]
    assert summary["problems"] == ["soak-0003: ended 12.0 s after Ctrl-C"]
    assert summary["minutes"] == 9.5
    save_plot(soak.records, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")

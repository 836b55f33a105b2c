"""Ctrl-C in a terminal, which all processes hear, while one trial is in an evaluation of hours, another in a step."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from essnet.sweep.folder import PENDING, SweepFolder
from tests.sweep.sweeps import TINY_TRIAL, write_sweep
from tests.sweep.test_hostile_machine_on_ray import session_of
from tests.sweep.test_on_ray import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_neither_is_waited_for(tmp_path: Path) -> None:
    write_sweep(
        tmp_path,
        base={
            **TINY_TRIAL,
            "data": {**TINY_TRIAL["data"], "val_images": 1_000_000},
            "evaluation": {**TINY_TRIAL["evaluation"], "every_steps": 1},
        },
        baseline="evaluating",
        arms={
            "evaluating": {"objective.name": "full_softmax"},
            "stepping": {"objective.name": "embedding_softmax", "trainer.accumulate_steps": 1_000_000},
        },
    )
    sweep = tmp_path / "runs" / "tiny"
    progress = sweep / "trials" / "000-evaluating" / "progress.json"
    log = sweep / "trials" / "001-stepping" / "log.txt"
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as driver:  # fmt: skip
        try:
            deadline = time.monotonic() + 240
            while not (
                progress.exists()  # the first step is taken
                and log.exists()
                and "training begins" in log.read_text()
            ):
                assert driver.poll() is None, driver.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            os.killpg(driver.pid, signal.SIGINT)
            text, _ = driver.communicate(timeout=60)
        finally:
            driver.kill()
    assert driver.returncode == 130, text
    assert text.splitlines()[-1] == "interrupted; go on with --resume"
    assert "Traceback" not in text
    assert session_of(driver.pid) == []
    assert [record.state for record in SweepFolder(sweep).records()] == [PENDING, PENDING]
    checkpoints = {name: sweep / "trials" / name / "checkpoints" for name in ("000-evaluating", "001-stepping")}
    assert (checkpoints["000-evaluating"] / "last").resolve().name == "step-000001"
    assert not checkpoints["001-stepping"].exists()
    assert list(sweep.rglob("*.partial")) == []
    assert list(sweep.rglob("error.json")) == []

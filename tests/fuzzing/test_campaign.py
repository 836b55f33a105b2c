"""What a campaign notes of a process that runs cases: it works in order, or dies, or says nothing any more."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from tests.fuzzing import campaign
from tests.fuzzing.campaign import Findings, _follow

PROGRAM = """
import json, os, sys, time
def say(**event): print(json.dumps(event), flush=True)
say()
say(outcome="taken")
say(outcome="answered")
say()
"""


def followed(program: str) -> list[Findings]:
    """What is noted of two cases of one subject, and three of another that begins with its seventh."""
    waiting = [Findings("one", 0, 2), Findings("two", 7, 10)]
    command = [sys.executable, "-c", PROGRAM + program]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as process,
    ):
        try:
            _follow(process, errors, waiting)
        finally:
            process.kill()
    assert dict(waiting[0].outcomes) == {"taken": 1, "answered": 1}
    assert waiting[0].is_over()
    return waiting


def test_cases_in_order() -> None:
    _, found = followed(
        "for _ in range(2): say(outcome='answered')\nsay(outcome='raised', trouble='what'); time.sleep(99)"
    )
    assert found.troubles == {9: "raised: what"}
    assert (found.cases, found.next_case, found.is_over()) == (3, 10, True)


def test_one_that_kills_its_process() -> None:
    _, found = followed(
        "say(outcome='taken'); print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    )
    assert found.troubles == {8: "died: exit code -9: last words"}
    assert (found.next_case, found.is_over()) == (9, False)  # the ninth is run in a new process


def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "_SILENT_SECONDS", 0.2)
    monkeypatch.setattr(campaign, "_START_SECONDS", 60.0)
    _, found = followed("say(outcome='taken'); time.sleep(99)")
    assert found.troubles == {8: "hung: no end within 0 s"}


def test_one_that_fails_all_the_time_is_enough_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "_MOST_TROUBLES", 2)
    _, found = followed("for _ in range(2): say(outcome='raised', trouble='again')\ntime.sleep(99)")
    assert found.is_over()
    assert found.next_case == 9

"""Runs many cases of a subject in a process that is watched: for errors that are no answer, hangs, and memory."""

from __future__ import annotations

import json
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 10.0
"""Of one case, of a processor's time: others may keep it from its turn."""
_SILENT_SECONDS = 60.0
"""Of the clock, after which a case waits for something that does not come, or works without end."""
MOST_MEMORY_BYTES = 2 << 30
"""Beyond what the process has before the first case."""
_START_SECONDS = 300.0
_MOST_TROUBLES = 20


@dataclass
class Findings:
    """What came of the cases of a subject."""

    subject: str
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """`taken`, `answered`, or what else it was: `raised`, `hung`, `died`."""
    troubles: dict[int, str] = field(default_factory=dict)
    """Case -> where and with what it ended, for those that are neither taken nor answered."""
    next_case: int = 0


def fuzz(subject: str, *, first: int, count: int) -> Findings:
    """Run the cases `first` to before `first + count` of a subject, each with its own number as seed.

    A case that hangs or kills its process is noted, and the next one begins in a new process.
    """
    found = Findings(subject, next_case=first)
    while found.next_case < first + count and len(found.troubles) < _MOST_TROUBLES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", __name__, subject, str(found.next_case), str(first + count), folder]
            # A file: libraries written in C say much of damaged pictures, and a full pipe would stop them.
            with (
                tempfile.TemporaryFile() as errors,
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as process,
            ):
                try:
                    _follow(process, errors, found, end=first + count)
                finally:
                    process.kill()
    return found


def _follow(process: subprocess.Popen[bytes], errors: IO[bytes], found: Findings, *, end: int) -> None:
    assert process.stdout is not None
    seconds = _START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(seconds):
            line = process.stdout.readline()
            if not line:
                break
            seconds = _SILENT_SECONDS
            event = json.loads(line)
            if "outcome" in event:
                _note(found, event["outcome"], event.get("trouble"))
                if found.next_case == end:
                    return
        else:
            _note(found, "hung", f"no end within {seconds:.0f} s")
            return
    if process.wait() != 0:
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        _note(found, "died", f"exit code {process.returncode}: {' '.join(last)}")


def _note(found: Findings, outcome: str, trouble: str | None) -> None:
    found.outcomes[outcome] += 1
    if trouble is not None:
        found.troubles[found.next_case] = f"{outcome}: {trouble}"
    found.cases += 1
    found.next_case += 1


def _run_cases(subject: str, first: int, end: int, folder: Path) -> Iterator[dict[str, str]]:
    """Run cases in this process; yields what came of each."""
    from tests.fuzzing.cases import ANSWERS
    from tests.fuzzing.subjects import SUBJECTS

    run = SUBJECTS[subject](folder)
    yield {}  # ready: from here on each line is a case
    limit = _address_space_bytes() + MOST_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, end):
        begin = time.process_time()
        try:
            run(number)
        except ANSWERS:
            result = {"outcome": "answered"}
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
            result = {"outcome": "raised", "trouble": text[:400]}
        else:
            result = {"outcome": "taken"}
        seconds = time.process_time() - begin
        yield result if seconds <= MOST_SECONDS else {"outcome": "hung", "trouble": f"{seconds:.0f} s"}


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(subject: str, first: str, end: str, folder: str) -> None:
    """Print a line of JSON for each case."""
    for event in _run_cases(subject, int(first), int(end), Path(folder)):
        print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

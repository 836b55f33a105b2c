"""Runs many cases of subjects in a process that is watched: for errors that are no answer, hangs, and memory."""

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
from collections.abc import Iterator, Mapping, Sequence
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
    next_case: int
    end: int
    """The case before which it is over."""
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """`taken`, `answered`, or what else it was: `raised`, `hung`, `died`."""
    troubles: dict[int, str] = field(default_factory=dict)
    """Case -> where and with what it ended, for those that are neither taken nor answered."""

    def is_over(self) -> bool:
        """Whether no further case is run."""
        return self.next_case >= self.end or len(self.troubles) >= _MOST_TROUBLES


def fuzz(counts: Mapping[str, int], *, first: int = 0) -> dict[str, Findings]:
    """Run so many cases of each subject, from `first` on, each with its own number as seed.

    All of them in one process, which takes longer to start than a thousand cases; one that hangs or kills it is noted,
    and the next one begins in a new process.
    """
    found = {subject: Findings(subject, first, first + count) for subject, count in counts.items()}
    while waiting := [one for one in found.values() if not one.is_over()]:
        with tempfile.TemporaryDirectory() as folder:
            work = [(one.subject, one.next_case, one.end) for one in waiting]
            command = [sys.executable, "-m", __name__, json.dumps(work), folder]
            # A file: libraries written in C say much of damaged pictures, and a full pipe would stop them.
            with (
                tempfile.TemporaryFile() as errors,
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as process,
            ):
                try:
                    _follow(process, errors, waiting)
                finally:
                    process.kill()
    return found


def _follow(process: subprocess.Popen[bytes], errors: IO[bytes], waiting: Sequence[Findings]) -> None:
    """Note what the process says, until it has done all, or is stuck in one, or dies."""
    assert process.stdout is not None
    seconds = _START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        for found in waiting:
            while not found.is_over():
                if not selector.select(seconds):
                    _note(found, "hung", f"no end within {seconds:.0f} s")
                    return
                line = process.stdout.readline()
                if not line:
                    errors.seek(0)
                    last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                    _note(found, "died", f"exit code {process.wait()}: {' '.join(last)}")
                    return
                event = json.loads(line)
                seconds = _SILENT_SECONDS
                if "outcome" in event:
                    _note(found, event["outcome"], event.get("trouble"))
            if found.next_case < found.end:  # enough of it; the process would go on
                return
            seconds = _START_SECONDS  # the next subject has something to prepare


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

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    folder.mkdir()
    run = SUBJECTS[subject](folder)
    yield {}  # ready: from here on each line is a case
    resource.setrlimit(resource.RLIMIT_AS, (_address_space_bytes() + MOST_MEMORY_BYTES, most))
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
        if seconds > MOST_SECONDS:
            result = {"outcome": "hung", "trouble": f"{seconds:.0f} s"}
        yield result


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(work: str, folder: str) -> None:
    """Print a line of JSON for each case."""
    for place, (subject, first, end) in enumerate(json.loads(work)):
        for event in _run_cases(subject, first, end, Path(folder) / str(place)):
            print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

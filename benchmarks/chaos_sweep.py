"""One sweep of tiny trials that is killed and begun again until it comes to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from benchmarks.chaos_checks import check_sweep, observe
from benchmarks.sessions import Session
from essnet.atomic_files import read_json, write_json
from essnet.sweep.folder import RUNNING, SweepFolder

_LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
_STEPS = 48
_EVALUATED = range(6, _STEPS + 1, 6)
_NAME = "chaos"
_LOOK_SECONDS = 0.2
_OBSERVE_SECONDS = 5.0
_LEFTOVER_SECONDS = 30.0
"""How long what is left of a dead command may live; Ray's own processes look for each other every few seconds."""
_MOST_FAILURES = 3
"""Times that the command may end by itself with an error before the sweep is given up."""


@dataclass(frozen=True)
class Kill:
    """What is to be killed next."""

    what: str
    after_seconds: float
    """From the last start or kill on; later where there is nothing of that kind then."""
    choice: float
    """Which of several, as a part of their number."""


class Cluster(Protocol):
    """Where the sweep runs if not on this machine alone."""

    arguments: Sequence[str]
    """Of `launch.py sweep`."""

    def lose_node(self, choice: float) -> str:
        """Remove one of the nodes, add another, and return the name of the one that is gone."""


class _Hung(Exception):
    """A command has made no progress for too long."""


class KilledSweep:
    """A sweep with kills, and beside it the same sweep without.

    As a context manager it ends all that it has started.

    Parameters
    ----------
    path
        Folder of both; one that was interrupted goes on.
    seed
        Of the trials.
    patience_seconds
        How long there may be no progress.
    cluster
        Where the sweep with kills runs; None: this machine.
    """

    def __init__(self, path: Path, *, seed: int, patience_seconds: float, cluster: Cluster | None) -> None:
        self._path = path
        self._patience_seconds = patience_seconds
        self._cluster = cluster
        self._killed = SweepFolder(path / "killed" / _NAME)
        self._reference = SweepFolder(path / "reference" / _NAME)
        path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(sweep_of(seed), sort_keys=False)
        (path / "sweep.yaml").write_text(text, encoding="utf-8")

    def __enter__(self) -> KilledSweep:
        self._end_sessions()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_sessions()

    def run_reference(self) -> float:
        """Run the sweep without kills, unless that was done; return its seconds."""
        note = self._path / "reference.json"
        if not note.exists():
            shutil.rmtree(self._reference.path.parent, ignore_errors=True)
            begin = time.monotonic()
            process, _ = self._start("reference")
            try:
                self._lives(process, self._reference, seconds=None)
            except _Hung:
                raise SystemExit(f"{self._path}/reference.log: the sweep hangs, without any kills") from None
            if process.returncode != 0:
                raise SystemExit(f"{self._path}/reference.log: the sweep failed, without any kills")
            write_json(note, {"seconds": time.monotonic() - begin})
        return float(read_json(note)["seconds"])

    def run(
        self,
        next_kill: Callable[[], Kill | None],
        *,
        note_kill: Callable[..., None],
        note_problem: Callable[[str], None],
    ) -> None:
        """Run the sweep until it has come to its end, or failed too often.

        `next_kill` returns None when there are to be no more; `note_kill` takes what is known of one.
        """
        failures = 0
        while failures < _MOST_FAILURES:
            process, session = self._start("killed")
            try:
                was_killed = self._attend(process, session, next_kill, note_kill)
            except _Hung:
                note_problem(f"no progress for {self._patience_seconds:.0f} s; see killed.log")
                session.kill_all()
                was_killed = True
                failures += 1
            if was_killed:
                continue
            if process.returncode == 0:
                break
            failures += 1
            note_problem(f"the command ended by itself with {process.returncode}; see killed.log")
        left = self._wait_for_leftovers()
        if left:
            note_problem(f"{len(left)} processes outlive their command by {_LEFTOVER_SECONDS:.0f} s: {', '.join(left)}")

    def check(self, kills: Sequence[dict[str, Any]]) -> list[str]:
        """Return what is wrong with the sweep after all these kills, a line each."""
        return check_sweep(self._killed, self._reference, kills=kills, evaluated=_EVALUATED)

    def _attend(
        self,
        process: subprocess.Popen[bytes],
        session: Session,
        next_kill: Callable[[], Kill | None],
        note_kill: Callable[..., None],
    ) -> bool:
        """Stay with a command until it is gone; return whether it was killed."""
        begin = time.monotonic()
        while True:
            kill = next_kill()
            if not self._lives(process, self._killed, seconds=kill.after_seconds if kill else None):
                return False
            assert kill is not None
            targets = self._targets(kill.what, process.pid, session)
            while not targets:
                if not self._lives(process, self._killed, seconds=_LOOK_SECONDS):
                    return False
                targets = self._targets(kill.what, process.pid, session)
            target = targets[int(kill.choice * len(targets))]
            note = {
                "what": kill.what,
                "process": target,
                "seconds_after_start": round(time.monotonic() - begin, 2),
                "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                "before": observe(self._killed),
            }
            killed = time.monotonic()
            if kill.what == "node" and self._cluster is not None:
                note["node"] = self._cluster.lose_node(kill.choice)
            elif kill.what == "machine":
                session.kill_all()
            else:
                os.kill(target, signal.SIGKILL)
            goes_on = kill.what in ("worker", "node")
            try:
                lives = self._lives(process, self._killed, seconds=1.0 if goes_on else None)
            except _Hung:
                note_kill(**note, result="the command hangs")
                raise
            seconds = time.monotonic() - killed
            ended = f"the command ended with {process.returncode} after {seconds:.1f} s"
            note_kill(**note, result="the command goes on" if lives else ended)
            if not lives:
                return not goes_on

    def _targets(self, what: str, command: int, session: Session) -> list[int]:
        """Return the processes of which one is to be killed, as far as there are any now."""
        if what == "raylet":
            return session.named("raylet")
        if what == "worker":
            living = session.processes()
            trials = [trial for trial in observe(self._killed).values() if trial["state"] == RUNNING]
            return [trial["process"] for trial in trials if trial["process"] in living]
        return [command]

    def _lives(self, process: subprocess.Popen[bytes], folder: SweepFolder, *, seconds: float | None) -> bool:
        """Wait for the end of a command, or so many seconds; return whether it lives.

        Raises
        ------
        _Hung
            If for too long nothing of the sweep has changed.
        """
        begin = moved = observed = time.monotonic()
        standing = observe(folder)
        while process.poll() is None:
            now = time.monotonic()
            if seconds is not None and now - begin >= seconds:
                return True
            if now - observed >= _OBSERVE_SECONDS:
                observed, before, standing = now, standing, observe(folder)
                moved = now if standing != before else moved
                if now - moved >= self._patience_seconds:
                    raise _Hung
            time.sleep(_LOOK_SECONDS if seconds is None else min(_LOOK_SECONDS, begin + seconds - now))
        return False

    def _start(self, which: str) -> tuple[subprocess.Popen[bytes], Session]:
        arguments = ["sweep", "sweep.yaml", "--output", which, "--resume"]
        if self._cluster is not None:
            arguments += self._cluster.arguments if which == "killed" else ["resources.gpus=0"]
        log = self._path / f"{which}.log"
        session = Session(f"{self._path} {uuid.uuid4()}")
        # Noted before there is anything to end: this benchmark may be killed too.
        self._note_sessions([*self._sessions(), session])
        return session.start([sys.executable, str(_LAUNCH), *arguments], folder=self._path, log=log), session

    @property
    def _sessions_file(self) -> Path:
        return self._path / "sessions.json"

    def _sessions(self) -> list[Session]:
        return [Session(name) for name in read_json(self._sessions_file).get("names", [])]

    def _note_sessions(self, sessions: Sequence[Session]) -> None:
        write_json(self._sessions_file, {"names": [session.name for session in sessions]})

    def _end_sessions(self) -> None:
        """End what is left of all commands, those of an earlier, interrupted benchmark included."""
        for session in self._sessions():
            session.kill_all()
        self._note_sessions([])

    def _wait_for_leftovers(self) -> list[str]:
        """Return the names of the processes that are still there some time after the last command ended."""
        sessions = self._sessions()
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while any(session.processes() for session in sessions) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return [name for session in sessions for name in session.names()]


def sweep_of(seed: int) -> dict[str, Any]:
    """Return the sweep: what comes next in it never depends on which of two trials is the faster."""
    return {
        "name": _NAME,
        "base": {
            "seed": seed,
            "data": {"name": "textures", "num_classes": 6, "crop_size": 32, "val_images": 8},
            "model": {"encoder": "tu-test_resnet"},
            "objective": {"name": "embedding_softmax"},
            "optimizer": {"name": "adamw", "lr": 0.004},
            "trainer": {
                "max_steps": _STEPS,
                "batch_size": 4,
                "log_every_steps": 1,
                "checkpoint_every_steps": _EVALUATED.step // 2,
                "num_threads": 1,
                "device": "cpu",
            },
            "evaluation": {"every_steps": _EVALUATED.step, "num_pictures": 1},
        },
        "baseline": "full",
        "arms": {
            "full": {"objective.name": "full_softmax"},
            "exact": {"objective.embedding_dim": {"choice": [2, 4]}},
            "knn": {"objective": {"name": "knn_softmax", "num_neighbours": 2, "embedding_dim": {"choice": [2, 4]}}},
        },
        "replicate": {"seeds": [seed, seed + 1]},
        "resources": {"cpus": 1, "max_concurrent": 2},
        "failure": {"max_retries": 1000},
        "tracking": {"experiment": f"chaos-{seed}"},
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line; a last line that was cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

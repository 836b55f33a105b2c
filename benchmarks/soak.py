"""Sweeps of tiny trials, one after the other in one output folder: does anything grow that should not?

    python benchmarks/soak.py --minutes 60 --output /tmp/soak --json benchmarks/results/soak.json \
        --plot docs/images/soak.png

Each sweep is a `launch.py sweep` of its own, two trials at a time. While it runs the memory of its driver and of its
trials' processes, file descriptors, threads and processes are looked at, and the largest are kept; after it how much
the store, the sweep's folder and Ray's logs have grown, what is left in /dev/shm, and how long it took. Each fourth
one is interrupted at a random moment as by Ctrl-C in a terminal, all processes of its group at once: it has to end
within 10 seconds and leave no process, and is gone on with by `--resume`. Seconds are those of the clock: where others
use the machine (the `load` is noted) they are theirs as well.

A figure is flat if over the whole time it grew by no more than 5 %, or if its growth is not told from chance (the
95 % interval of the slope holds zero). `--output` keeps everything: a soak that was interrupted goes on where it was,
with the minutes that are left. Linux only. Ends with 1 if something grew, or something was left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import yaml

from benchmarks.sessions import Session, take_signals
from benchmarks.soak_growth import growth_of, save_plot
from benchmarks.soak_watch import Watch, folder_mib, shared_memory_mib
from essnet.atomic_files import write_json
from essnet.sweep.folder import ENDED, SweepFolder

_LAUNCH = Path(_ROOT) / "launch.py"
_INTERRUPT_EACH = 4
_END_SECONDS = 10.0
_LEFTOVER_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run sweeps until the minutes are over; write and print what grew, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="in all, with those of a soak that goes on")
    parser.add_argument("--trials", type=int, default=12, help="of each sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    soak = Soak(options.output.absolute(), trials=options.trials, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="soak") as ray_folder:  # short: sockets lie in it
        os.environ["RAY_TMPDIR"] = ray_folder
        while soak.minutes < options.minutes:
            print(json.dumps(soak.run_next()), flush=True)
    summary = soak.summary()
    print(json.dumps(summary, indent=2))
    if options.json is not None:
        write_json(options.json, {**summary, "sweeps": soak.records})
    if options.plot is not None:
        save_plot(soak.whole(), options.plot)
    return 1 if summary["grew"] or summary["problems"] else 0


class Soak:
    """Sweeps in one folder, and what is known of each: a line of `soak.jsonl`."""

    def __init__(self, output: Path, *, trials: int, seed: int) -> None:
        self._output = output
        self._trials = trials
        self._seed = seed
        self._file = output / "soak.jsonl"
        output.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(sweep_of(trials), sort_keys=False)
        (output / "sweep.yaml").write_text(text, encoding="utf-8")
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self.records: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    @property
    def minutes(self) -> float:
        """How long the sweeps took so far."""
        return sum(float(record["seconds"]) for record in self.records) / 60

    def run_next(self) -> dict[str, Any]:
        """Run the next sweep to its end; return what is known of it."""
        number = len(self.records)
        name = f"soak-{number:04d}"
        shutil.rmtree(self._output / "runs" / name, ignore_errors=True)  # of a soak that was interrupted in it
        before, began = self._sizes(), time.monotonic()
        interruption = None
        if number % _INTERRUPT_EACH == _INTERRUPT_EACH - 1:
            moment = random.Random(f"{self._seed}/{number}").uniform(0, self._typical_seconds())
            interruption = self._interrupt(name, moment)
        watch, problems = self._run(name)
        after = self._sizes()
        record = {
            "sweep": number,
            "seconds": time.monotonic() - began,
            "trials": self._trials,
            **watch.largest,
            "store_mib": after["store"] - before["store"],
            "artifacts_mib": after["artifacts"] - before["artifacts"],
            "folder_mib": folder_mib(self._output / "runs" / name),
            "ray_logs_mib": after["ray"] - before["ray"],
            "shared_memory_mib": shared_memory_mib(),
            "interruption": interruption,
            "problems": [*problems, *(interruption["problems"] if interruption is not None else [])],
        }
        for checkpoints in (self._output / "runs" / name / "trials").glob("*/checkpoints"):
            shutil.rmtree(checkpoints)  # an hour of them would fill the disk
        self.records.append(record)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record

    def whole(self) -> list[dict[str, Any]]:
        """Return the records of sweeps that one driver ran through: an interrupted one took longer, and has two."""
        return [record for record in self.records if record["interruption"] is None and not record["problems"]]

    def summary(self) -> dict[str, Any]:
        """Return what all sweeps show together: of each figure whether it grew, and all problems."""
        growth = growth_of(self.whole())
        interruptions = [record["interruption"] for record in self.records if record["interruption"] is not None]
        return {
            "minutes": round(self.minutes, 1),
            "sweeps": len(self.records),
            "trials": sum(record["trials"] for record in self.records),
            "growth": growth,
            "grew": [name for name, figures in growth.items() if figures["flat"] is False],
            "interruptions": len(interruptions),
            "longest_end_seconds": max((one["seconds_to_end"] for one in interruptions), default=None),
            "problems": [f"soak-{one['sweep']:04d}: {text}" for one in self.records for text in one["problems"]],
        }

    def _run(self, name: str) -> tuple[Watch, list[str]]:
        session, process = self._start(name)
        try:
            watch = Watch(session, process.pid)
            while process.poll() is None:
                watch.look()
                time.sleep(0.5)
            problems = [] if process.returncode == 0 else [f"ended with {process.returncode}; see {name}.log"]
            records = SweepFolder(self._output / "runs" / name).records()
            if len(records) != self._trials or any(record.state not in ENDED for record in records):
                problems.append(f"{sum(record.state in ENDED for record in records)} of {self._trials} trials ended")
            return watch, problems + _leftovers(session)
        finally:
            session.kill_all()

    def _interrupt(self, name: str, moment: float) -> dict[str, Any]:
        """Begin a sweep, and press Ctrl-C at a moment, in seconds after its start."""
        session, process = self._start(name)
        try:
            time.sleep(moment)
            pressed = time.monotonic()
            had_ended = process.poll() is not None
            os.killpg(process.pid, signal.SIGINT) if not had_ended else None
            problems = []
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                problems.append("does not end within a minute of Ctrl-C")
            seconds = time.monotonic() - pressed
            if seconds > _END_SECONDS:
                problems.append(f"ended {seconds:.1f} s after Ctrl-C")
            if process.returncode not in ((0,) if had_ended else (0, 130, -signal.SIGINT)):
                problems.append(f"ended with {process.returncode} upon Ctrl-C; see {name}.log")
            return {
                "moment": moment,
                "seconds_to_end": seconds,
                "load": os.getloadavg()[0],
                "exit_code": process.returncode,
                "problems": problems + _leftovers(session),
            }
        finally:
            session.kill_all()

    def _start(self, name: str) -> tuple[Session, subprocess.Popen[bytes]]:
        session = Session(f"soak {self._output} {name} {time.monotonic_ns()}")
        command = [sys.executable, str(_LAUNCH), "sweep", "sweep.yaml", f"name={name}", "--resume"]
        return session, session.start(command, folder=self._output, log=self._output / f"{name}.log")

    def _sizes(self) -> dict[str, float]:
        return {
            "store": folder_mib(self._output / "runs" / "mlflow.db"),
            "artifacts": folder_mib(self._output / "runs" / "mlartifacts"),
            "ray": folder_mib(Path(os.environ["RAY_TMPDIR"])),
        }

    def _typical_seconds(self) -> float:
        whole = sorted(record["seconds"] for record in self.records if record["interruption"] is None)
        return float(whole[len(whole) // 2]) if whole else 30.0


def sweep_of(trials: int) -> dict[str, Any]:
    """Return a sweep of so many tiny trials."""
    return {
        "name": "soak",
        "base": {
            "data": {"name": "textures", "num_classes": 6, "crop_size": 32, "val_images": 8},
            "model": {"encoder": "tu-test_resnet"},
            "objective": {"name": "embedding_softmax"},
            "optimizer": {"name": "adamw", "lr": 0.004},
            "trainer": {"max_steps": 8, "batch_size": 4, "log_every_steps": 1, "num_threads": 1, "device": "cpu"},
            "evaluation": {"every_steps": 4, "num_pictures": 1},
        },
        "baseline": "full",
        "arms": {
            "full": {"objective.name": "full_softmax"},
            "exact": {"objective.embedding_dim": {"int": [2, 16]}},
        },
        "search": {"algorithm": "random", "num_trials": trials - 1},
        "resources": {"gpus": 0, "cpus": 1, "max_concurrent": 2},
    }


def _leftovers(session: Session) -> list[str]:
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while session.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    names = session.names()
    return [f"{len(names)} processes outlive it by {_LEFTOVER_SECONDS:.0f} s: {', '.join(names)}"] if names else []


if __name__ == "__main__":
    take_signals()
    sys.exit(main())

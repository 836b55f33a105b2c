"""What the driver of a sweep can take: many trials on many GPUs that are not there.

    python benchmarks/simulated_cluster.py --trials 1000 --gpus 64 --json cluster.json

`launch.py sweep` runs as always (`benchmarks/simulated_driver.py`): search, Ray Tune's controller, ASHA, the folder's
records, MLflow, progress, comparison. Two things are put in its place: the machine has `--gpus` GPUs, of which Ray
needs to be told only a number, and a trial replays a learning curve (`benchmarks/replayed_trial.py`). Each GPU has a
worker process of its own, as in a real sweep; it keeps its folder and writes to MLflow as a real trial does, but
computes nothing and does not import torch, so that it takes some 160 MiB: 64 of them 10 GiB. Where that is not there,
take fewer GPUs: the driver's work for a decision or a trial is the same, only its rounds through what runs are shorter.

Curves are drawn from a seed, or those of real sweeps with `--recorded FOLDER ...`. Between two evaluations a trial
sleeps `--seconds`; with 0, results come as fast as workers and driver can share the cores of this machine, so that the
driver's own CPU seconds for a decision say more than decisions a second.

At the end every trial, every evaluation and every point in MLflow is counted: with 1 it ends where one is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import torch
import yaml

from benchmarks.measurement import available_bytes
from benchmarks.records import environment
from benchmarks.replayed_trial import CURVES_FILE, EVALUATED, LOGGED, generated_curves
from benchmarks.sessions import Session, take_signals
from benchmarks.tracking_server import tracking_server
from essnet.atomic_files import write_json
from essnet.sweep.folder import COMPLETED, ENDED, SweepFolder
from essnet.tracking import RunStore
from essnet.training.result import read_history

_NAME = "simulated"
_WORKER_MIB, _DRIVER_MIB = 170, 2000
_SAMPLE_SECONDS = 0.5
_EVALUATIONS, _EVERY_STEPS, _LOGGED_PER_EVALUATION = 20, 10, 2
_NUM_CURVES = 500


@dataclass(frozen=True)
class Sample:
    """The driver at a moment."""

    seconds: float
    """Since its start."""
    cpu_seconds: float
    main_cpu_seconds: float
    """Of the thread that schedules."""
    resident_mib: float
    begun: int
    """Trials."""
    decided: int
    """Results that the scheduler has judged."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; print the table, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.0, help="between two evaluations of a trial")
    parser.add_argument("--algorithm", choices=["random", "optuna"], default="optuna")
    parser.add_argument("--recorded", type=Path, nargs="*", default=[], help="folders of sweeps whose curves to replay")
    parser.add_argument("--server", action="store_true", help="track to an MLflow server in place of a sqlite file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a folder to keep the sweep in; else it is deleted")
    parser.add_argument("--profile", type=Path, help="file for what cProfile says of the scheduling thread")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    needed_mib = options.gpus * _WORKER_MIB + _DRIVER_MIB
    available = available_bytes(torch.device("cpu"))
    if available is not None and available / 2**20 < needed_mib:
        print(f"--gpus {options.gpus}: needs some {needed_mib:,} MiB, and {available / 2**20:,.0f} are available")
        return 2
    with ExitStack() as around:
        output = options.output or Path(around.enter_context(tempfile.TemporaryDirectory()))
        output.mkdir(parents=True, exist_ok=True)
        uri = around.enter_context(tracking_server(output / "server")) if options.server else None
        database = output / "server" / "mlflow.db" if options.server else output / "mlflow.db"
        result = measure(options, output.absolute(), tracking_uri=uri, database=database)
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 1 if result["lost"] else 0


def measure(options: argparse.Namespace, output: Path, *, tracking_uri: str | None, database: Path) -> dict[str, Any]:
    """Run the sweep below `output`, and return what was measured and counted."""
    folder = SweepFolder(output / _NAME)
    sweep = sweep_of(options.trials, algorithm=options.algorithm, seed=options.seed, tracking_uri=tracking_uri)
    (output / "sweep.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False), encoding="utf-8")
    curves = recorded_curves(options.recorded) or generated_curves(_NUM_CURVES, points=_EVALUATIONS, seed=options.seed)
    write_json(output / "cache" / CURVES_FILE, {"seconds": options.seconds, "curves": curves})
    samples = _run(options, output, folder)
    rows, lost = count_what_arrived(folder, database)
    begin, end = busy_part(samples, gpus=options.gpus)
    if begin is end:
        raise SystemExit(f"--trials {options.trials}: too few to measure anything on {options.gpus} GPUs")
    wall_seconds = end.seconds - begin.seconds
    cpu_seconds = end.cpu_seconds - begin.cpu_seconds
    decisions = end.decided - begin.decided
    states = Counter(record.state for record in folder.records())
    return {
        "trials": options.trials,
        "gpus": options.gpus,
        "seconds_between_evaluations": options.seconds,
        "algorithm": options.algorithm,
        "store": "server" if tracking_uri else "sqlite",
        "environment": environment(torch.device("cpu"), threads=1),
        "states": dict(states),
        "seconds": {"start_up": begin.seconds, "busy": wall_seconds, "closing": samples[-1].seconds - end.seconds},
        "decisions": samples[-1].decided,
        "decisions_per_second": decisions / wall_seconds,
        "trials_per_second": (end.begun - begin.begun) / wall_seconds,
        "driver": {
            "cpu_seconds": cpu_seconds,
            "scheduling_cpu_seconds": end.main_cpu_seconds - begin.main_cpu_seconds,
            "cpu_share": cpu_seconds / wall_seconds,
            "cpu_ms_per_decision": 1000 * cpu_seconds / decisions,
            "cpu_ms_per_trial_by_quarter": cost_by_quarter(samples[samples.index(begin) : samples.index(end) + 1]),
            "resident_mib_at_first_trial": next(sample for sample in samples if sample.begun).resident_mib,
            "peak_mib": max(sample.resident_mib for sample in samples),
        },
        "mlflow": {"rows": rows, "rows_per_second": sum(rows.values()) / (samples[-1].seconds - begin.seconds)},
        "lost": lost,
    }


def busy_part(samples: Sequence[Sample], *, gpus: int) -> tuple[Sample, Sample]:
    """Return the first sample with a result for each GPU, by when workers are there, and that of the last result."""
    last = samples[-1].decided
    begin = next(sample for sample in samples if sample.decided >= min(gpus, last // 2))
    return begin, next(sample for sample in samples if sample.decided == last)


def sweep_of(trials: int, *, algorithm: str, seed: int, tracking_uri: str | None) -> dict[str, Any]:
    """Return a sweep of so many trials, the baseline included, with ASHA."""
    return {
        "name": _NAME,
        "base": {
            "data": {"name": "textures", "num_classes": 8, "crop_size": 32, "val_images": 4},
            "model": {"encoder": "tu-test_resnet"},
            "objective": {"name": "embedding_softmax"},
            "trainer": {
                "max_steps": _EVALUATIONS * _EVERY_STEPS,
                "batch_size": 4,
                "log_every_steps": _EVERY_STEPS // _LOGGED_PER_EVALUATION,
                "device": "cpu",
            },
            "evaluation": {"every_steps": _EVERY_STEPS},
        },
        "baseline": "full",
        "arms": {
            "full": {"objective.name": "full_softmax"},
            "searched": {
                "objective.name": {"choice": ["knn_softmax", "embedding_softmax"]},
                "objective.embedding_dim": {"int": [4, 64], "log": True},
                "objective.num_neighbours": {"int": [1, 6]},
                "optimizer.lr": {"float": [1e-4, 1e-1], "log": True},
            },
        },
        "search": {"algorithm": algorithm, "num_trials": trials - 1, "seed": seed},
        "scheduler": {"name": "asha"},
        "resources": {"gpus": 1, "cpus": 0.05},
        "tracking": {"uri": tracking_uri, "experiment": _NAME},
    }


def recorded_curves(sweeps: Sequence[Path]) -> list[list[float]]:
    """Return the curves of mIoU of all trials of some sweeps."""
    paths = [path for sweep in sweeps for path in sorted(sweep.glob("trials/*/history.jsonl"))]
    curves = [[entry["metrics"]["val/miou"] for entry in read_history(path)] for path in paths]
    return [curve for curve in curves if curve]


def cost_by_quarter(samples: Sequence[Sample]) -> list[float]:
    """Return the driver's CPU milliseconds for a trial, in each quarter of the trials that were begun."""
    first, last = samples[0].begun, samples[-1].begun
    marks = [next(one for one in samples if one.begun >= first + part * (last - first) / 4) for part in range(4)]
    return [
        1000 * (after.cpu_seconds - before.cpu_seconds) / max(1, after.begun - before.begun)
        for before, after in pairwise([*marks, samples[-1]])
    ]


def count_what_arrived(folder: SweepFolder, database: Path) -> tuple[dict[str, int], list[str]]:
    """Return the rows that a sweep left in MLflow's database by what they are, and what is missing, a line each."""
    state = folder.state()
    store = RunStore(state["tracking_uri"], state["experiment"], artifact_root=folder.path.parent / "mlartifacts")
    runs: dict[str, list[Any]] = {}
    for run in store.children(state["parent_run_id"]):
        runs.setdefault(run.data.tags["essnet.trial_id"], []).append(run)
    # A request for each metric of each run would take minutes.
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT run_uuid, key, COUNT(*), COUNT(DISTINCT step) FROM metrics GROUP BY run_uuid, key"
        points = {(run, key): counts for run, key, *counts in connection.execute(query)}
    records = folder.records()
    lost = [] if len(records) == state["num_trials"] else [f"{len(records)} of {state['num_trials']} trials"]
    for record in records:
        own = runs.get(record.trial_id, [])
        number = len(read_history(folder.trial(record.trial_id) / "history.jsonl"))
        if record.state not in ENDED or (record.state == COMPLETED and number != _EVALUATIONS):
            lost.append(f"{record.trial_id}: is {record.state} after {number} evaluations")
        if [run.info.status for run in own] != ["FINISHED"]:
            lost.append(f"{record.trial_id}: its runs are {[run.info.status for run in own]}")
            continue
        for name, times in {**dict.fromkeys(EVALUATED, 1), **dict.fromkeys(LOGGED, _LOGGED_PER_EVALUATION)}.items():
            found = points.get((own[0].info.run_id, name), [0, 0])
            if found != [times * number, times * number]:
                lost.append(f"{record.trial_id}: {name}: {found[0]} points at {found[1]} steps, {times * number} sent")
    params = sum(len(run.data.params) for own in runs.values() for run in own)
    rows = {"runs": len(records), "params": params, "points": sum(number for number, _ in points.values())}
    return rows, lost


def _run(options: argparse.Namespace, output: Path, folder: SweepFolder) -> list[Sample]:
    os.environ["PYTHONPATH"] = _ROOT  # for Ray's workers
    script = Path(__file__).with_name("simulated_driver.py")
    profile = str(options.profile.absolute()) if options.profile is not None else "-"
    command = [sys.executable, str(script), str(options.gpus), profile, "sweep.yaml", "--output", "."]
    begin = time.monotonic()
    session = Session(f"{output} {uuid.uuid4()}")
    process = session.start(command, folder=output, log=output / "driver.log")
    samples: list[Sample] = []
    decided = _Lines(folder.path / "results.jsonl")
    try:
        while process.poll() is None:
            sample = _sample(process.pid, time.monotonic() - begin, folder, decided=decided.count())
            samples += [sample] if sample is not None else []
            time.sleep(_SAMPLE_SECONDS)
    finally:
        session.kill_all()
    if process.returncode != 0:
        raise SystemExit(f"{output}/driver.log: the driver ended with {process.returncode}")
    return samples


def _sample(process: int, seconds: float, folder: SweepFolder, *, decided: int) -> Sample | None:
    trials = folder.path / "trials"
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        return Sample(
            seconds=seconds,
            cpu_seconds=_cpu_seconds(Path(f"/proc/{process}/stat")),
            main_cpu_seconds=_cpu_seconds(Path(f"/proc/{process}/task/{process}/stat")),
            resident_mib=int(status["VmRSS"].split()[0]) / 1024,
            begun=len(os.listdir(trials)) if trials.exists() else 0,
            decided=decided,
        )
    except (OSError, KeyError):  # it has just ended
        return None


def _cpu_seconds(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Lines:
    """Counts the lines of a file that grows, reading each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._count = 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
            self._offset += len(content)
            self._count += content.count(b"\n")
        return self._count


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    driver, mlflow = result["driver"], result["mlflow"]
    quarters = ", ".join(f"{cost:.0f}" for cost in driver["cpu_ms_per_trial_by_quarter"])
    rows = ", ".join(f"{number:,} {what}" for what, number in mlflow["rows"].items())
    seconds = result["seconds"]
    lines = [
        f"{result['trials']:,} trials on {result['gpus']} GPUs that are not there, {result['algorithm']}, "
        f"{result['store']}: {json.dumps(result['states'])}",
        f"  {seconds['start_up']:,.0f} s until all workers have reported, {seconds['busy']:,.0f} s to the last result, "
        f"{seconds['closing']:,.0f} s to the end",
        f"  {result['decisions']:,} decisions, {result['decisions_per_second']:.1f} a second; "
        f"{result['trials_per_second']:.1f} trials a second",
        f"  driver: {driver['cpu_seconds']:,.0f} s of CPU, {driver['scheduling_cpu_seconds']:,.0f} of them scheduling; "
        f"{100 * driver['cpu_share']:.0f} % of a core, {driver['cpu_ms_per_decision']:.0f} ms a decision",
        f"  driver: ms of CPU for a trial, by quarter of the trials: {quarters}",
        f"  driver: {driver['resident_mib_at_first_trial']:,.0f} MiB at the first trial, "
        f"{driver['peak_mib']:,.0f} at most",
        f"  MLflow: {rows}; {mlflow['rows_per_second']:,.0f} a second",
        f"  lost: {len(result['lost']) or 'none'}",
        *(f"    {line}" for line in result["lost"]),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    take_signals()
    sys.exit(main())

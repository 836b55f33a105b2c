"""What a sweep costs beside the training in it: a sweep, and its trials alone, one after another on the same cores.

    python benchmarks/sweep_overhead.py --steps 300 --json overhead.json

A round is a sweep of `--trials` trials on generated textures by `launch.py sweep`, one trial at a time on all cores,
and then `launch.py train --from-trial` for each of them. Three ratios say what the sweep costs:

    whole commands    the sweep's wall time / the sum of the train commands', start-up and all
    without start-up  from the sweep's first training step to its last trial's result / the same of each train command,
                      added up: all that lies between two trials of a sweep counts, no import does
    training alone    the sum over the sweep's trials, each from its first step to its result / the same sum

and two lists say where the rest goes: from the start of the sweep to its first step, and between the result of one
trial and the first step of the next, which runs in the same worker. Times are those that the trials left behind: the
lines of `log.txt`, the first step's metric in MLflow, the time of `result.json`.

With `--at-once N` the sweep runs N trials side by side, each on its share of the cores: the ratios are then what
running them side by side gains. `--cores` takes less than all cores, for both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import torch
import yaml

from benchmarks.records import environment
from benchmarks.sessions import Session, take_signals
from essnet.atomic_files import read_json, write_json
from essnet.cores import available_cores
from essnet.sweep.folder import SweepFolder
from essnet.sweep.trial_log import LOG_FILE
from essnet.tracking import RunStore, default_uri

_LAUNCH = str(Path(_ROOT) / "launch.py")
_NAME = "overhead"
_IMPORTS = (
    "import essnet.cli.sweep, essnet.sweep.preflight, essnet.sweep.runner, essnet.report, essnet.tracking; "
    "import essnet.training.trial"
)
"""What `launch.py sweep` imports before it starts Ray."""


@dataclass(frozen=True)
class TrialTimes:
    """When a trial of a sweep did what, in seconds since the epoch."""

    process: float
    """Its worker took it up."""
    begins: float
    """Data, network and MLflow run were there."""
    first_step: float
    """The first step was logged."""
    result: float
    """Its result was on disk."""


@dataclass(frozen=True)
class Round:
    """A sweep, and the same trials by `train`."""

    sweep: tuple[float, float]
    """Begin and end of the command."""
    trials: Sequence[TrialTimes]
    """Those of the sweep, in the order in which they were taken up."""
    trains: Sequence[tuple[float, float]]
    """Begin and end of each train command."""
    trained: Sequence[tuple[float, float]]
    """The first step and the result of each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print the table, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300, help="of each trial")
    parser.add_argument("--at-once", type=int, default=1, help="trials of the sweep side by side")
    parser.add_argument("--cores", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a folder to keep all runs in; else they are deleted")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.trials < 2 or options.at_once > options.cores:
        parser.error("at least 2 --trials, and at most as many --at-once as --cores")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])  # for the commands too
    with ExitStack() as around:
        output = options.output or Path(around.enter_context(tempfile.TemporaryDirectory()))
        rounds = [run_round(options, output.absolute() / f"round-{number}") for number in range(options.rounds)]
    result = {
        "trials": options.trials,
        "steps": options.steps,
        "at_once": options.at_once,
        "environment": environment(torch.device("cpu"), threads=options.cores),
        "imports_seconds": _import_seconds(),
        "rounds": [figures(one) for one in rounds],
    }
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 0


def run_round(options: argparse.Namespace, output: Path) -> Round:
    """Run the sweep below `output`, then its trials one by one, and return when all of it happened."""
    output.mkdir(parents=True)
    sweep = sweep_of(
        options.trials, steps=options.steps, cpus=options.cores // options.at_once, at_once=options.at_once
    )
    (output / "sweep.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False), encoding="utf-8")
    folder = SweepFolder(output / _NAME)
    swept = _run(output, "sweep", "sweep.yaml")
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    trials, trains, trained = [], [], []
    for record in folder.records():
        path = folder.trial(record.trial_id)
        log = (path / LOG_FILE).read_text(encoding="utf-8")
        trials.append(TrialTimes(*_times_of_log(log), *_training(store, path)))
        threads = f"trainer.num_threads={options.cores}"
        trains.append(_run(output, "train", threads, "--from-trial", f"{_NAME}/{record.trial_id}"))
        trained.append(_training(store, output / "train" / f"{_NAME}-{record.trial_id}"))
    return Round(swept, sorted(trials, key=lambda one: one.process), trains, trained)


def sweep_of(trials: int, *, steps: int, cpus: int, at_once: int) -> dict[str, Any]:
    """Return a sweep of so many trials, in every one of which the same is computed."""
    return {
        "name": _NAME,
        "base": {
            "data": {"name": "textures", "num_classes": 64, "crop_size": 64, "val_images": 64},
            "model": {"encoder": "tu-test_resnet"},
            "objective": {"name": "embedding_softmax"},
            "optimizer": {"name": "adamw", "lr": 0.004},
            # The first step is logged, as what comes before it is to be told apart.
            "trainer": {"max_steps": steps, "batch_size": 16, "log_every_steps": 1, "device": "cpu"},
            "evaluation": {"every_steps": max(1, steps // 3)},
        },
        "baseline": "first",
        "arms": {"first": {"seed": 0}, "others": {"seed": {"choice": list(range(1, trials))}}},
        "resources": {"cpus": cpus, "max_concurrent": at_once},
    }


def figures(one: Round) -> dict[str, Any]:
    """Return what a round says."""
    first = one.trials[0]
    sweep_seconds = one.sweep[1] - one.sweep[0]
    of_sweep = max(trial.result for trial in one.trials) - first.first_step
    in_sweep = sum(trial.result - trial.first_step for trial in one.trials)
    in_trains = sum(result - first_step for first_step, result in one.trained)
    trains_seconds = sum(end - begin for begin, end in one.trains)
    return {
        "sweep_seconds": sweep_seconds,
        "trains_seconds": trains_seconds,
        "whole_commands": sweep_seconds / trains_seconds,
        "without_start_up": of_sweep / in_trains,
        "training_alone": in_sweep / in_trains,
        "to_first_step_seconds": {
            "until a worker takes up the first trial": first.process - one.sweep[0],
            "data, network, MLflow run": first.begins - first.process,
            "first step": first.first_step - first.begins,
        },
        "after_last_result_seconds": one.sweep[1] - max(trial.result for trial in one.trials),
        "train_to_first_step_seconds": median(
            first_step - begin for (first_step, _), (begin, _) in zip(one.trained, one.trains, strict=True)
        ),
        "between_trials_seconds": between_trials(one.trials),
    }


def between_trials(trials: Sequence[TrialTimes]) -> dict[str, float]:
    """Return the median seconds from the result before a trial to its own first step, by what passes in them.

    Only trials that another one had ended before are looked at: those run in a worker that is there already.
    """
    stages: dict[str, list[float]] = {
        "until the worker takes it up": [],
        "data, network, MLflow run": [],
        "first step": [],
    }
    for trial in trials:
        ended = [other.result for other in trials if other.result <= trial.process]
        if ended:
            seconds = (trial.process - max(ended), trial.begins - trial.process, trial.first_step - trial.begins)
            for stage, of_stage in zip(stages.values(), seconds, strict=True):
                stage.append(of_stage)
    return {name: median(seconds) for name, seconds in stages.items() if seconds}


def _times_of_log(log: str) -> tuple[float, float]:
    """Return when a trial's process took it up, and when training began."""
    lines = log.splitlines()
    begins = next(line for line in lines if line.endswith("training begins"))
    taken_up, begun = (datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f") for line in (lines[0], begins))
    return taken_up.timestamp(), begun.timestamp()


def _training(store: RunStore, path: Path) -> tuple[float, float]:
    """Return when a run's first step was logged, and when its result was there."""
    points = store.client.get_metric_history(read_json(path / "run.json")["run_id"], "train/loss")
    return min(point.timestamp for point in points) / 1000, (path / "result.json").stat().st_mtime


def _run(output: Path, command: str, *arguments: str) -> tuple[float, float]:
    """Run one of `launch.py`'s commands; return its begin and its end."""
    session = Session(f"{output} {uuid.uuid4()}")
    begin = time.time()
    try:
        code = session.start(
            [sys.executable, _LAUNCH, command, *arguments, "--output", "."], folder=output, log=output / "commands.log"
        ).wait()
        end = time.time()
    finally:
        session.kill_all()
    if code != 0:
        raise SystemExit(f"{output}/commands.log: {command} ended with {code}")
    return begin, end


def _import_seconds() -> float:
    seconds = []
    for _ in range(3):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", _IMPORTS], cwd=_ROOT, check=True)
        seconds.append(time.monotonic() - begin)
    return median(seconds)


def table(result: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"{result['trials']} trials of {result['steps']} steps, {result['at_once']} at once"]
    for one in result["rounds"]:
        lines.append(
            f"  sweep {one['sweep_seconds']:.1f} s, train commands {one['trains_seconds']:.1f} s: "
            f"whole commands {one['whole_commands']:.3f}, without start-up {one['without_start_up']:.3f}, "
            f"training alone {one['training_alone']:.3f}"
        )
        begins = one["to_first_step_seconds"]
        lines.append(f"  to the sweep's first step {sum(begins.values()):.1f} s: {_stages(begins)}")
        lines.append(
            f"    of it the command's imports, alone, {result['imports_seconds']:.1f} s; a train command takes "
            f"{one['train_to_first_step_seconds']:.1f} s to its first step"
        )
        between = one["between_trials_seconds"]
        lines.append(f"  between two trials {1000 * sum(between.values()):.0f} ms: {_stages(between)}")
        lines.append(f"  after the last result {one['after_last_result_seconds']:.1f} s")
    return "\n".join(lines)


def _stages(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * part:.0f} ms" for name, part in seconds.items())


if __name__ == "__main__":
    take_signals()
    sys.exit(main())

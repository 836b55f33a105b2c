"""What must hold of a sweep that was killed many times: that nothing was lost, nothing done twice, nothing changed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from essnet.atomic_files import read_json
from essnet.sweep.folder import COMPLETED, SweepFolder, TrialRecord
from essnet.sweep.trial_log import LOG_FILE
from essnet.tracking import RunStore
from essnet.training.result import read_history

_BEGINS = re.compile(r" INFO step (\d+) of \d+: training begins$")
_REPORTS = re.compile(r" INFO step (\d+): (?!done$)")
_ENDS = re.compile(r" INFO step \d+: done$")

Points = list[tuple[int, float]]
"""Of one metric of a run: step and value, by step."""


@dataclass
class Attempt:
    """A time that a trial was begun, as its log tells."""

    first_step: int
    """Steps that it had behind it."""
    reported: list[int] = field(default_factory=list)
    """Steps whose evaluation was reported, which is after their checkpoint was written."""
    is_done: bool = False


def read_attempts(log: str) -> list[Attempt]:
    """Return how often and from where a trial was begun, from the text of its log."""
    attempts: list[Attempt] = []
    for line in log.splitlines():
        if begins := _BEGINS.search(line):
            attempts.append(Attempt(int(begins[1])))
        elif attempts and (reports := _REPORTS.search(line)):
            attempts[-1].reported.append(int(reports[1]))
        elif attempts and _ENDS.search(line):
            attempts[-1].is_done = True
    return attempts


def observe(folder: SweepFolder) -> dict[str, dict[str, Any]]:
    """Return how each trial of a sweep stands: its state, its last step, that of its checkpoint, how often it began."""
    standing = {}
    for record in folder.records():
        trial = folder.trial(record.trial_id)
        progress = read_json(trial / "progress.json")
        standing[record.trial_id] = {
            "state": record.state,
            "step": progress.get("step", 0),
            "checkpoint": _last_checkpoint(trial),
            "begun": len(_attempts(trial)),
            "process": progress.get("pid"),
        }
    return standing


def repeated_work(attempts: Sequence[Attempt], before: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what a trial did again that it need not have.

    `before` is how it stood at each of the kills, as `observe` returns it.
    """
    problems = []
    for number, attempt in enumerate(attempts[1:], start=1):
        earlier = attempts[:number]
        safe = max((step for one in earlier for step in one.reported), default=0)
        if attempt.first_step < safe:
            problems.append(f"attempt {number + 1} went on from step {attempt.first_step}, though {safe} was reported")
        if any(one.is_done for one in earlier) and attempt.reported:
            problems.append(f"attempt {number + 1} trained, though the trial was done")
    for then in before:
        since = attempts[then["begun"] :]
        if then["state"] == COMPLETED and since:
            problems.append(f"was begun {len(since)} times after it was {COMPLETED}")
        for attempt in since:
            if attempt.first_step < then["checkpoint"]:
                had = f"a checkpoint of step {then['checkpoint']}"
                problems.append(f"went on from step {attempt.first_step}, though there was {had}")
    return problems


def different_points(found: Mapping[str, Points], expected: Mapping[str, Points]) -> list[str]:
    """Return in which metrics a run is not the other one: in steps, and, times and memory aside, in values.

    At which steps a process looks at what it takes of the machine (`system/`) depends on the time: these may differ.
    """
    problems = []
    for name in sorted(found.keys() | expected.keys()):
        mine, other = found.get(name, []), expected.get(name, [])
        steps, wanted = [step for step, _ in mine], [step for step, _ in other]
        doubles = sorted(step for step, times in Counter(steps).items() if times > 1)
        if name.startswith("system/"):
            if doubles:
                problems.append(f"{name}: steps {doubles} twice")
        elif steps != wanted:
            missing, more = sorted(set(wanted) - set(steps)), sorted(set(steps) - set(wanted))
            problems.append(f"{name}: steps {doubles} twice, {missing} missing, {more} not expected")
        elif not name.startswith("perf/") and mine != other:
            step = next(step for (step, value), (_, right) in zip(mine, other, strict=True) if value != right)
            problems.append(f"{name}: another value than without kills from step {step} on")
    return problems


def check_sweep(
    killed: SweepFolder, reference: SweepFolder, *, kills: Sequence[Mapping[str, Any]], evaluated: Sequence[int]
) -> list[str]:
    """Return all that is wrong with a sweep that was killed, a line each.

    Parameters
    ----------
    killed
        Its folder; it has come to its end.
    reference
        That of the same sweep, run without kills.
    kills
        What was noted of the kills, each with `before` as `observe` returned it.
    evaluated
        Steps at which every trial is evaluated.
    """
    problems = []
    records = {_configuration(record): record for record in killed.records()}
    wanted = {_configuration(record): record for record in reference.records()}
    if records.keys() != wanted.keys() or len(records) != len(killed.records()):
        problems.append(f"{len(killed.records())} trials, {len(wanted)} without kills, or other ones")
    for configuration in records.keys() & wanted.keys():
        record, other = records[configuration], wanted[configuration]
        path = killed.trial(record.trial_id)
        found = [f"is {record.state}"] if record.state != COMPLETED else []
        found += _check_history(path, reference.trial(other.trial_id), evaluated)
        before = [kill["before"][record.trial_id] for kill in kills if record.trial_id in kill["before"]]
        found += repeated_work(_attempts(path), before)
        problems += [f"{record.trial_id}: {problem}" for problem in found]
    problems += _check_comparison(killed, reference)
    return problems + _check_tracked(killed, reference)


def _check_history(path: Path, other: Path, evaluated: Sequence[int]) -> list[str]:
    history, expected = (read_history(folder / "history.jsonl") for folder in (path, other))
    steps = [entry["step"] for entry in history]
    if steps != list(evaluated):
        return [f"its history has the steps {steps}"]
    if _values(history) != _values(expected):
        return ["its history has other values than without kills"]
    return []


def _check_comparison(killed: SweepFolder, reference: SweepFolder) -> list[str]:
    found, expected = (
        {
            (trial["arm"], json.dumps(trial["overrides"], sort_keys=True)): _without_times(trial["metrics"])
            for trial in read_json(folder.path / "comparison.json").get("trials", [])
        }
        for folder in (killed, reference)
    )
    return [] if found == expected else ["the comparison is another one than without kills"]


def _check_tracked(killed: SweepFolder, reference: SweepFolder) -> list[str]:
    store, parents, children = tracked(killed)
    other_store, _, others = tracked(reference)
    problems = [f"MLflow: {len(parents)} parent runs"] if len(parents) != 1 else []
    for run in (*parents, *(run for runs in children.values() for run in runs)):
        if run.info.status != "FINISHED":
            problems.append(f"MLflow: run {run.info.run_name} is {run.info.status}")
    if children.keys() != others.keys():
        problems.append(f"MLflow: runs of {len(children)} trials, {len(others)} without kills")
    for configuration in children.keys() & others.keys():
        runs = children[configuration]
        if len(runs) > 1:
            problems.append(f"MLflow: {len(runs)} runs of {runs[0].info.run_name}")
        expected = metric_points(other_store, others[configuration][0])
        for problem in different_points(metric_points(store, runs[0]), expected):
            problems.append(f"MLflow: {runs[0].info.run_name}: {problem}")
    return problems


def tracked(folder: SweepFolder) -> tuple[RunStore, list[Run], dict[tuple[str, str], list[Run]]]:
    """Return the store of a sweep, its parent runs, and the runs of each configuration."""
    state = folder.state()
    store = RunStore(state["tracking_uri"], state["experiment"], artifact_root=folder.path.parent / "mlartifacts")
    runs = store.client.search_runs([store.experiment_id], max_results=10_000)
    trials = {record.trial_id: record for record in folder.records()}
    children: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.data.tags["essnet.kind"] == "trial":
            trial_id = run.data.tags["essnet.trial_id"]
            of = _configuration(trials[trial_id]) if trial_id in trials else ("no trial", trial_id)
            children.setdefault(of, []).append(run)
    return store, [run for run in runs if run.data.tags["essnet.kind"] == "sweep"], children


def metric_points(store: RunStore, run: Run) -> dict[str, Points]:
    """Return all points of all metrics of a run."""
    return {
        name: sorted((point.step, point.value) for point in store.client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def _configuration(record: TrialRecord) -> tuple[str, str]:
    """What a trial is: a replicate's number depends on which arm was ready first, and so on the kills."""
    return record.arm, json.dumps(record.overrides, sort_keys=True)


def _attempts(trial: Path) -> list[Attempt]:
    log = trial / LOG_FILE
    return read_attempts(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []


def _last_checkpoint(trial: Path) -> int:
    link = trial / "checkpoints" / "last"
    return int(link.readlink().name.removeprefix("step-")) if link.is_symlink() else 0


def _values(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    return [_without_times(entry["metrics"]) for entry in history]


def _without_times(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("perf/")}

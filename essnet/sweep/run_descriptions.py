"""What MLflow shows on the pages of a sweep's runs, in Markdown: what it is, how it went, how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from essnet.sweep.folder import COMPLETED, FAILED, STOPPED, TrialRecord
from essnet.sweep.progress_metrics import Best
from essnet.tracking.markdown import code_block, inert

_STATES = {COMPLETED: "completed", STOPPED: "stopped early by the scheduler", FAILED: "failed"}


def describe_trial(
    record: TrialRecord, state: Mapping[str, Any], *, output: str, metrics: Mapping[str, float] | None = None
) -> str:
    """Return the description of a trial's run.

    `state` is the sweep's, `output` the folder that it lies in; `metrics` are those of the best evaluation of a trial
    that has ended.
    """
    name = state["name"]
    lines = [f"Trial **{inert(record.trial_id)}** of the sweep **{inert(name)}**, arm **{inert(record.arm)}**."]
    if record.arm == state["baseline"]:
        lines.append("It is of the baseline, which the other arms are compared with.")
    else:
        lines.append(f"The baseline is the arm **{inert(state['baseline'])}**.")
    if record.replicates is not None:
        lines.append(f"It runs {inert(record.replicates)} again with the seed {record.seed}.")
    if record.point:
        lines.append("What was searched:")
        lines.append("\n".join(f"- {inert(path)} = {inert(value)}" for path, value in record.point.items()))
    if record.state in _STATES:
        result = [f"It {_STATES[record.state]}" if record.state != STOPPED else f"It was {_STATES[STOPPED]}"]
        if record.error is not None and record.state == FAILED:
            result.append(f": {inert(record.error)}")
        lines.append("".join(result) + ".")
        if metrics:
            values = ", ".join(f"{inert(key)} {value:.4g}" for key, value in metrics.items() if key.startswith("val/"))
            lines.append(f"Its best evaluation: {values}")
    lines += ["To run it again, alone:", code_block(_command(f"train --from-trial {name}/{record.trial_id}", output))]
    return "\n\n".join(lines)


def describe_sweep(
    state: Mapping[str, Any],
    *,
    output: str,
    counts: Mapping[str, int],
    best: Mapping[str, Best],
    answers: Sequence[str] = (),
) -> str:
    """Return the description of a sweep's run.

    `counts` says how many trials are in each state, `best` which is the best of each arm so far, and `answers` what the
    report says once the sweep has ended.
    """
    lines = [f"The sweep **{inert(state['name'])}**; its baseline is the arm **{inert(state['baseline'])}**."]
    lines += [inert(answer) for answer in answers]
    done = counts.get(COMPLETED, 0) + counts.get(STOPPED, 0)
    failed = f", {counts[FAILED]} failed" if counts.get(FAILED) else ""
    lines.append(f"{done} of {state['num_trials']} trials done{failed}.")
    if best:
        metric = inert(state["metric"])
        rows = [f"| {inert(arm)} | {inert(one.trial_id)} | {one.value:.4g} |" for arm, one in sorted(best.items())]
        lines.append("\n".join([f"| arm | its best trial | {metric} |", "| --- | --- | --- |", *rows]))
    if state.get("resume_command"):
        lines += ["To go on with it:", code_block(state["resume_command"])]
    lines += ["To compare its trials:", code_block(_command(f"report {state['name']}", output))]
    return "\n\n".join(lines)


def _command(arguments: str, output: str) -> str:
    return f"launch.py {arguments}" if output == "runs" else f"launch.py {arguments} --output {shlex.quote(output)}"

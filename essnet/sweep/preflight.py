"""Everything that would stop a trial at its start is found before the first one starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from essnet.config import Sweep
from essnet.training import build_trial, resolve_device
from essnet.training.precision import check_precision


def check_devices(sweep: Sweep, *, gpus: float) -> None:
    """Check that each arm's device is there and computes in the arm's precision; builds nothing.

    `gpus` is a trial's share of them: without one, a trial whose device is `auto` runs on the CPU.

    Raises
    ------
    InputError
        If one is not there, or does not.
    """
    for arm in sweep.arms:
        for point in arm.probe_points():
            trainer = sweep.trial_config({**arm.fixed, **point}).trainer
            device = resolve_device("cpu" if trainer.device == "auto" and not gpus else trainer.device)
            check_precision(trainer.precision, device)


def check_arms(sweep: Sweep, *, cache_dir: Path, scan_progress: Callable[[int, int], None] | None = None) -> None:
    """Build data sets and model of each arm once, on the CPU, with every end of its search spaces.

    Raises
    ------
    InputError
        If an arm's data set, encoder or weights are not there.
    """
    seen: list[object] = []
    for arm in sweep.arms:
        for point in arm.probe_points():
            config = sweep.trial_config({**arm.fixed, **point})
            # Arms share data and network as a rule: what was built once is not built again.
            parts = (config.data, config.model, config.evaluation.split, config.objective.name, config.trainer)
            if parts in seen:
                continue
            seen.append(parts)
            # A driver that opened a GPU would keep memory there from the trials.
            trainer = config.trainer.model_copy(update={"device": "cpu"})
            trial = config.model_copy(update={"trainer": trainer})
            build_trial(trial, cache_dir=cache_dir, scan_progress=scan_progress)

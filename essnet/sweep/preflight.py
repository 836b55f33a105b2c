"""Everything that would stop a trial at its start is found before the first one starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from essnet.config import Sweep
from essnet.training import build_trial, resolve_device


def check_arms(sweep: Sweep, *, cache_dir: Path, scan_progress: Callable[[int, int], None] | None = None) -> None:
    """Build data sets and model of each arm once, on the CPU, with every end of its search spaces.

    Raises
    ------
    InputError
        If an arm's device, data set, encoder or weights are not there.
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
            resolve_device(config.trainer.device)
            # A driver that opened a GPU would keep memory there from the trials.
            trainer = config.trainer.model_copy(update={"device": "cpu"})
            trial = config.model_copy(update={"trainer": trainer})
            build_trial(trial, cache_dir=cache_dir, scan_progress=scan_progress)

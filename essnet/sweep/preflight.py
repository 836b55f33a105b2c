"""Everything that would stop a trial at its start is found before the first one starts."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from essnet.config import InputError, Sweep
from essnet.progress import ItemProgress
from essnet.training.precision import check_precision


def check_devices(sweep: Sweep, *, gpus: float) -> None:
    """Check that each arm's device is one that a trial gets, and computes in the arm's precision; opens no GPU.

    `gpus` is a trial's share of them: a trial sees no others, and without one, `auto` is the CPU.

    Raises
    ------
    InputError
        If a trial does not get the device, or the device does not have the precision.
    """
    for arm in sweep.arms:
        for point in arm.probe_points():
            trainer = sweep.trial_config({**arm.fixed, **point}).trainer
            check_precision(trainer.precision, torch.device(_device_type(trainer.device, gpus=gpus)))


def check_arms(sweep: Sweep, *, cache_dir: Path, scan_progress: ItemProgress | None = None) -> None:
    """Build data sets and model of each arm once, on the CPU, with every end of its search spaces.

    Raises
    ------
    InputError
        If an arm's data set, encoder or weights are not there, or it cannot be evaluated as it asks for.
    """
    # Networks and data sets take seconds to import, and a dry run builds none.
    from essnet.training.trial import build_trial
    from essnet.training.views import views_of

    seen: list[object] = []
    for arm in sweep.arms:
        for point in arm.probe_points():
            config = sweep.trial_config({**arm.fixed, **point})
            # Arms share data and network as a rule: what was built once is not built again.
            objective = (config.objective.name, config.objective.options)
            parts = (config.data, config.model, config.evaluation, objective, config.trainer)
            if parts in seen:
                continue
            seen.append(parts)
            # A driver that opened a GPU would keep memory there from the trials.
            trainer = config.trainer.model_copy(update={"device": "cpu"})
            trial = config.model_copy(update={"trainer": trainer})
            built = build_trial(trial, cache_dir=cache_dir, scan_progress=scan_progress)
            views_of(trial, built.model)


def _device_type(name: str, *, gpus: float) -> str:
    """Return whether a trial that asks for a device runs on `cuda` or on the `cpu`."""
    if name in ("auto", "cpu"):
        return "cuda" if name == "auto" and gpus else "cpu"
    _, _, index = name.partition(":")
    last = math.ceil(gpus) - 1
    if int(index or 0) > last:
        seen = "no GPU" if not gpus else f"cuda:0 to cuda:{last}" if last else "cuda:0 alone"
        advice = "auto" if gpus else "cpu or auto"
        raise InputError(
            f"trainer.device: found {name!r}, but torch sees {seen} in a trial of this sweep; take {advice}"
        )
    return "cuda"

"""Measuring what the trials of a sweep take, before the first begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from essnet.atomic_files import read_json, write_json
from essnet.config import Arm, InputError, Point, Sweep, TrialConfig
from essnet.progress import ItemProgress
from essnet.sweep.failures import lost_worker
from essnet.sweep.folder import SweepFolder
from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.measuring import look_at_device, measure_trial
from essnet.sweep.packing import Packing, runs_on_gpu
from essnet.sweep.plan import grid_points
from essnet.sweep.resources import Placement
from essnet.sweep.trial_class import class_key

# Threads that wait for others sleep, and so do not look busy.
_WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def measure_packing(
    sweep: Sweep,
    placement: Placement,
    *,
    folder: SweepFolder,
    cache_dir: Path | None,
    progress: ItemProgress | None = None,
) -> Packing:
    """Measure each class of a sweep's trials, one after another, on workers of Ray, which must run.

    What is in the folder's `measured.json` is not measured again, but for what failed. Ctrl-C loses no more than the
    measurement that runs.

    Parameters
    ----------
    sweep
        Of a grid every class is measured, else those at the ends of each arm's spaces.
    placement
        Where trials run.
    folder
        The sweep's.
    cache_dir
        Where scans of data sets are kept.
    progress
        Called with (which, of how many) before each measurement.

    Raises
    ------
    InputError
        If `measured.json` is damaged.
    """
    trials = {arm.name: [_trial(sweep, arm, point) for point in _points(sweep, arm)] for arm in sweep.arms}
    kinds = sorted({runs_on_gpu(config, placement) for configs in trials.values() for config in configs})
    devices: dict[bool, Device] = {gpu: _on_device(look_at_device, placement, on_gpu=gpu, gpu=gpu) for gpu in kinds}

    def key(config: TrialConfig) -> str:
        return class_key(config, device=devices[runs_on_gpu(config, placement)].name)

    arms = {arm: {key(config): config for config in configs} for arm, configs in trials.items()}
    classes = {name: config for of_arm in arms.values() for name, config in of_arm.items()}
    path = folder.path / "measured.json"
    known = _read(path)
    missing = [name for name in classes if name not in known or known[name].error is not None]
    for number, name in enumerate(missing, start=1):
        if progress is not None:
            progress(number, len(missing))
        known[name] = _measure(classes[name], placement, cache_dir=cache_dir, code=sweep.code)
        write_json(path, {each: asdict(measurement) for each, measurement in known.items()})
    return Packing(
        placement=placement,
        margin=sweep.config.resources.memory_margin,
        devices=devices,
        measurements={name: known[name] for name in classes},
        arms=arms,
    )


def _points(sweep: Sweep, arm: Arm) -> list[Point]:
    return grid_points(arm) if sweep.config.search.algorithm == "grid" else arm.probe_points()


def _trial(sweep: Sweep, arm: Arm, point: Point) -> TrialConfig:
    return sweep.trial_config({**arm.fixed, **point})


def _measure(config: TrialConfig, placement: Placement, *, cache_dir: Path | None, code: Sequence[str]) -> Measurement:
    on_gpu = runs_on_gpu(config, placement)
    if not on_gpu:  # on a machine with GPUs, `auto` would take one that the worker was not given
        config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"device": "cpu"})})
    try:
        measurement: Measurement = _on_device(
            measure_trial,
            placement,
            on_gpu=on_gpu,
            trial=config.model_dump(),
            cache_dir=cache_dir and str(cache_dir.absolute()),
            code=code,
            code_folder=str(Path.cwd()),
        )
    except RayError as error:
        return Measurement(error=lost_worker(error)["message"])
    return measurement


def _on_device(function: Callable[..., Any], placement: Placement, *, on_gpu: bool, **arguments: Any) -> Any:
    """Call a function in a fresh process of a worker that has all cores of its machine, and a GPU."""
    remote = ray.remote(
        num_cpus=placement.device_node.cpus,
        num_gpus=int(on_gpu),
        max_calls=1,
        max_retries=0,
        runtime_env={"env_vars": _WORKER_ENVIRONMENT},
    )(function)
    task = remote.remote(**arguments)
    try:
        return ray.get(task)
    except KeyboardInterrupt:
        ray.cancel(task, force=True)
        raise


def _read(path: Path) -> dict[str, Measurement]:
    content = read_json(path)
    try:
        return {key: Measurement(**values) for key, values in content.items()}
    except (AttributeError, TypeError):
        raise InputError(f"{path}: damaged; delete it, and everything is measured again") from None

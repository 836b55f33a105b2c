"""From what a trial was measured to take to what it is given: a whole number of trials shares a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.resources import RAY_UNITS, Placement


@dataclass(frozen=True)
class Share:
    """What one trial takes."""

    cpus: float
    gpus: float
    threads: int
    """Threads of torch, where the trial does not set them itself."""
    params: Mapping[str, Any]
    """For the trial's MLflow run: what it takes, and the measurement that it follows from."""


def planned_share(placement: Placement) -> Share:
    """Return what the placement gives every trial."""
    return _share(placement.cpus, placement.gpus, placement.threads)


def whole_device(placement: Placement, *, on_gpu: bool) -> Share:
    """Return the share of a trial that has a GPU for itself or, on a CPU, a machine."""
    if on_gpu:
        return _share(placement.cpus, max(1.0, placement.gpus), placement.threads)
    cores = placement.device_node.cpus
    return _share(float(cores), 0.0, cores)


def gpu_share(measurement: Measurement, device: Device, placement: Placement, *, margin: float) -> Share:
    """Return 1/n of a GPU: n as large as its memory, and the cores and the host's memory per GPU, allow."""
    node = placement.device_node
    cores_per_gpu = max(1, node.cpus // node.gpus)
    cores = min(_cores(measurement), cores_per_gpu)
    in_gpu = _fitting(measurement.gpu_memory_mib, device.gpu_memory_mib, margin=margin)
    in_host = _fitting(measurement.host_memory_mib, device.host_memory_mib, margin=margin)
    trials = max(1, min(in_gpu, cores_per_gpu // cores, in_host // node.gpus))
    return _share(max(float(cores), _part(node.cpus, in_host)), _part(1, trials), cores)


def cpu_share(
    measurement: Measurement, device: Device, placement: Placement, *, margin: float, threads: int | None
) -> Share:
    """Return cores: those that it keeps busy, of an equal share; or more, where its memory is more than theirs.

    `threads` are those that the trial sets itself, and keeps whatever its share.
    """
    node = placement.device_node
    with_memory = _part(node.cpus, _fitting(measurement.host_memory_mib, device.host_memory_mib, margin=margin))
    equal = node.cpus if threads is not None else max(1, int(max(placement.cpus, with_memory)))
    cores = min(_cores(measurement), equal)
    return _share(max(float(cores), with_memory), 0.0, cores)


def _fitting(taken: float, there: float, *, margin: float) -> int:
    """Return how many trials fit into memory, at least one: it did, alone."""
    return max(1, int(there / (taken * (1 + margin))))


def _cores(measurement: Measurement) -> int:
    return max(1, round(measurement.busy_cores))


def _part(whole: int, trials: int) -> float:
    """Return what each of so many trials has of a whole, as Ray counts it: never a digit too much."""
    return whole * RAY_UNITS // trials / RAY_UNITS


def _share(cpus: float, gpus: float, threads: int) -> Share:
    return Share(cpus, gpus, threads, {"placement.cpus": cpus, "placement.gpus": gpus})

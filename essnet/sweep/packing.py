"""What each trial of a sweep takes: what its kind was measured to need, or the same for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from essnet.config import TrialConfig
from essnet.sweep.measurement import Device, Measurement
from essnet.sweep.resources import Placement
from essnet.sweep.shares import Share, cpu_share, gpu_share, planned_share, whole_device
from essnet.sweep.trial_class import class_key


def runs_on_gpu(config: TrialConfig, placement: Placement) -> bool:
    """Return whether a trial runs on a GPU, where the placement gives trials one."""
    return placement.gpus > 0 and config.trainer.device != "cpu"


@dataclass(frozen=True)
class Packing:
    """Knows what each trial of a sweep takes; without measurements that is what the placement says."""

    placement: Placement
    margin: float = 0.0
    """Memory that a trial is given beyond what was measured, as a part of that."""
    devices: Mapping[bool, Device] = field(default_factory=dict)
    """Whether it is a GPU -> the device that trials were measured on; empty: nothing was measured."""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """Of each class, by its key."""
    arms: Mapping[str, Mapping[str, TrialConfig]] = field(default_factory=dict)
    """Name of an arm -> keys of its measured classes -> a trial of each."""

    @property
    def concurrent(self) -> int:
        """The most trials that run at once: only of those that take least."""
        shares = self._shares()
        return self.placement.at_once(cpus=min(one.cpus for one in shares), gpus=min(one.gpus for one in shares))

    def share(self, config: TrialConfig, *, arm: str, alone: bool = False) -> Share:
        """Return what a trial of an arm takes; with `alone`, a whole device.

        A class that was not measured, between those of a range, takes what the arm's largest does, and one whose
        measurement failed a whole device.
        """
        on_gpu = runs_on_gpu(config, self.placement)
        whole = whole_device(self.placement, on_gpu=on_gpu)
        if not self.devices:
            return whole if alone else planned_share(self.placement)
        device = self.devices[on_gpu]
        key = class_key(config, device=device.name)
        measurement = self.measurements[key] if key in self.arms[arm] else self._largest(arm, on_gpu=on_gpu)
        if alone or measurement.error is not None:
            share = whole
        elif on_gpu:
            share = gpu_share(measurement, device, self.placement, margin=self.margin)
        else:
            threads = config.trainer.num_threads
            share = cpu_share(measurement, device, self.placement, margin=self.margin, threads=threads)
        return replace(share, params={**share.params, **_params(measurement, device)})

    def describe(self) -> str:
        """Return in a sentence what trials take."""
        if not self.devices:
            return self.placement.describe()
        shares = self._shares()
        names = " and ".join(device.name for device in self.devices.values())
        errors = [one.error for one in self.measurements.values() if one.error is not None]
        failed = f"; not measured: {len(errors)}, which take a whole device ({errors[0]})" if errors else ""
        return (
            f"measured on {names}: a trial takes {_span(one.cpus for one in shares)} cores and "
            f"{_span(one.gpus for one in shares)} GPUs, so at most {self.concurrent} run at once{failed}"
        )

    def _shares(self) -> list[Share]:
        if not self.devices:
            return [planned_share(self.placement)]
        return [self.share(config, arm=arm) for arm, classes in self.arms.items() for config in classes.values()]

    def _largest(self, arm: str, *, on_gpu: bool) -> Measurement:
        alike = [
            self.measurements[key]
            for key, config in self.arms[arm].items()
            if runs_on_gpu(config, self.placement) == on_gpu
        ]
        return Measurement(
            gpu_memory_mib=max(one.gpu_memory_mib for one in alike),
            host_memory_mib=max(one.host_memory_mib for one in alike),
            busy_cores=max(one.busy_cores for one in alike),
            error=next((one.error for one in alike if one.error is not None), None),
        )


def unpacked(placement: Placement) -> Packing:
    """Return the packing in which every trial takes what the placement says."""
    return Packing(placement)


def _params(measurement: Measurement, device: Device) -> dict[str, str | float]:
    if measurement.error is not None:
        return {"placement.device": device.name, "placement.not_measured": measurement.error}
    host = round(measurement.host_memory_mib)
    memory = round(measurement.gpu_memory_mib) if device.gpu_memory_mib else host
    return {
        "placement.device": device.name,
        "placement.measured_memory_mib": memory,
        "placement.measured_host_memory_mib": host,
        "placement.measured_busy_cores": round(measurement.busy_cores, 2),
    }


def _span(values: Iterable[float]) -> str:
    lowest, *_, highest = sorted([*values] * 2)
    return f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"

"""What a trial takes of the machine, and whether that can ever be had."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from essnet.config import InputError, ResourcesConfig
from essnet.cores import available_cores


@dataclass(frozen=True)
class Placement:
    """Cores and GPUs of the machine and of one trial, and how many trials run at once."""

    machine_cpus: int
    machine_gpus: int
    cpus: float
    gpus: float
    concurrent: int

    @property
    def threads(self) -> int:
        """Threads that torch takes in a trial."""
        return max(1, int(self.cpus))

    def describe(self) -> str:
        """Return the placement in a sentence."""
        return (
            f"{self.machine_cpus} CPU cores and {self.machine_gpus} GPUs here; a trial takes {self.cpus:g} cores and "
            f"{self.gpus:g} GPUs, so {self.concurrent} run at once"
        )


def plan_placement(config: ResourcesConfig, *, num_trials: int) -> Placement:
    """Decide what a trial takes: one GPU where there are GPUs, else a share of the cores.

    Raises
    ------
    InputError
        If a trial asks for more than the machine has; it would wait for ever.
    """
    cpus_there = available_cores()
    gpus_there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = config.gpus if config.gpus is not None else float(gpus_there > 0)
    if gpus > gpus_there:
        raise InputError(f"resources.gpus: a trial asks for {gpus:g} GPUs, and this machine has {gpus_there}")
    # Without GPUs: as many trials side by side as there are cores; fewer trials take more cores each.
    share = cpus_there * gpus // gpus_there if gpus else cpus_there // min(num_trials, cpus_there)
    default_cpus = max(1.0, float(share))
    cpus = config.cpus if config.cpus is not None else default_cpus
    if cpus > cpus_there:
        raise InputError(f"resources.cpus: a trial asks for {cpus:g} cores, and this machine has {cpus_there}")
    fit = int(cpus_there / cpus)
    if gpus:
        fit = min(fit, int(gpus_there / gpus))
    return Placement(
        machine_cpus=cpus_there,
        machine_gpus=gpus_there,
        cpus=cpus,
        gpus=gpus,
        concurrent=min(fit, config.max_concurrent or fit),
    )

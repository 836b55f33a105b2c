"""What a trial was measured to take, and on what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """What there is for trials: a GPU and the machine around it, or the machine alone."""

    name: str
    """Devices of one name are alike."""
    host_memory_mib: float
    gpu_memory_mib: float = 0.0
    """0 without a GPU."""


@dataclass(frozen=True)
class Measurement:
    """What a trial took alone on a device."""

    gpu_memory_mib: float = 0.0
    host_memory_mib: float = 0.0
    busy_cores: float = 1.0
    """Processor seconds per second, of the trial's process and those that load its data."""
    error: str | None = None
    """Why it could not be measured; then the figures say nothing."""

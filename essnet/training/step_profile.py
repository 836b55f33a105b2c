"""Where the time of a training step goes: a table for people, and a trace for a viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from essnet.atomic_files import write_atomically
from essnet.config import InputError
from essnet.training.quiet_profiler import quiet_profiler

RANGES = ("data", "forward", "loss", "backward", "optimizer")
"""What a step consists of, in the order in which it happens; the loop marks these by `step_range`."""
WARM_UP_STEPS = 5
PROFILED_STEPS = 10
_PREFIX = "essnet/"


def step_range(name: str) -> torch.profiler.record_function:
    """Mark a part of a step, one of `RANGES`: costs microseconds, and is seen by a profiler that runs."""
    return torch.profiler.record_function(_PREFIX + name)


def check_enough_steps(max_steps: int, *, taken: int = 0) -> None:
    """Raise InputError if the steps that are left of a run end before one is recorded."""
    if max_steps - taken > WARM_UP_STEPS:
        return
    warms_up = f"--profile: warms up for {WARM_UP_STEPS} steps, but"
    if taken:
        raise InputError(
            f"{warms_up} of trainer.max_steps={max_steps} only {max_steps - taken} are left; "
            "profile a new run, without --resume"
        )
    raise InputError(f"{warms_up} trainer.max_steps is {max_steps}; take more")


class StepProfile:
    """Records `PROFILED_STEPS` steps after `WARM_UP_STEPS`, between entering and leaving; `step` follows each step.

    Writes to `folder`, as soon as they are recorded, or on leaving if the run was shorter: `steps.txt`, the table of
    `RANGES`; `operations.txt`, torch's own table; and `trace.json`, for https://ui.perfetto.dev or chrome://tracing.
    Then `done` gets the table's text and the files.
    """

    def __init__(self, folder: Path, *, device: torch.device, done: Callable[[str, tuple[Path, ...]], None]) -> None:
        self._folder = folder
        self._device = device
        self._done = done
        self._recorded = 0
        self._steps = 0
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":  # not yet run on a GPU
            activities.append(ProfilerActivity.CUDA)
        self._profiler = quiet_profiler(
            activities=activities,
            schedule=schedule(wait=WARM_UP_STEPS - 1, warmup=1, active=PROFILED_STEPS, repeat=1),
            on_trace_ready=self._write,
        )

    def __enter__(self) -> Self:
        self._profiler.__enter__()  # type: ignore[no-untyped-call]  # torch has no types there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._profiler.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # nor there

    def step(self) -> None:
        """Note the end of a step."""
        self._steps += 1
        if WARM_UP_STEPS < self._steps <= WARM_UP_STEPS + PROFILED_STEPS:
            self._recorded += 1
        self._profiler.step()

    def _write(self, profiler: profile) -> None:
        if self._recorded == 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        averages = profiler.key_averages()
        text = self._table(averages)
        files = tuple(self._folder / name for name in ("steps.txt", "operations.txt", "trace.json"))
        operations = averages.table(sort_by=f"self_{self._device.type}_time_total", row_limit=40)
        write_atomically(files[0], lambda path: path.write_text(text + "\n", encoding="utf-8"))
        write_atomically(files[1], lambda path: path.write_text(operations, encoding="utf-8"))
        write_atomically(files[2], lambda path: profiler.export_chrome_trace(str(path)))
        self._done(text, files)

    def _table(self, averages: torch.autograd.profiler_util.EventList) -> str:
        """Milliseconds a step of each range; of GPU work the host's column says only how long it took to ask for it."""
        on_gpu = self._device.type == "cuda"
        found = {event.key.removeprefix(_PREFIX): event for event in averages if event.key.startswith(_PREFIX)}
        host = {name: found[name].cpu_time_total / 1000 / self._recorded for name in RANGES if name in found}
        lines = [f"{'of a step':<12}{'ms':>10}{'share':>9}" + (f"{'GPU ms':>10}" if on_gpu else "")]
        for name, ms in host.items():
            line = f"{name:<12}{ms:>10.2f}{ms / sum(host.values()):>9.0%}"
            if on_gpu:
                line += f"{found[name].device_time_total / 1000 / self._recorded:>10.2f}"
            lines.append(line)
        lines.append(f"{'together':<12}{sum(host.values()):>10.2f}   over {self._recorded} steps")
        return "\n".join(lines)

"""How time and memory are measured: rounds that take turns, and a process for each peak of memory."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import torch

from benchmarks.implementations import Implementation, build
from benchmarks.problem import Problem, draw_inputs
from essnet.training.memory import PeakMemory, extra_memory_mib

WARM_UPS = 2
LEAST_ROUNDS = 7

# Enough for every code path and thread, too few to leave memory behind that the measured step would use again.
WARM_UP_PIXELS = 4096


def seconds_of_rounds(
    implementations: Mapping[str, Implementation], *, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of forward and backward, `rounds` each, taken in turns (A B C A B C ...)."""
    for implementation in implementations.values():
        for _ in range(WARM_UPS):
            _seconds(implementation, device)
    seconds: dict[str, list[float]] = {name: [] for name in implementations}
    for _ in range(rounds):
        for name, implementation in implementations.items():
            seconds[name].append(_seconds(implementation, device))
    return seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and what a fifth of the rounds stays below and above."""
    return {f"p{percent}": float(np.percentile(seconds, percent)) for percent in (20, 50, 80)}


def extra_memory_alone_mib(name: str, problem: Problem, *, threads: int) -> float | None:
    """Return `extra_memory_of_step_mib` measured in a process of its own; None where that was killed."""
    with ProcessPoolExecutor(1, mp_context=fresh_processes()) as process:
        try:
            return process.submit(extra_memory_of_step_mib, name, problem, threads=threads).result()
        except BrokenProcessPool:
            return None


def extra_memory_of_step_mib(name: str, problem: Problem, *, threads: int) -> float:
    """Return the MiB that one step holds at its peak beyond inputs and weights, gradients included.

    On a CPU the larger of two figures: the growth of the resident set, which misses what fits into memory that
    the process already has, and torch's allocations, which miss what other libraries and threads allocate.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(problem.seed)
    device = torch.device(problem.device)
    _warm_up(name, replace(problem, pixels=min(problem.pixels, WARM_UP_PIXELS)))
    implementation = build(name, problem, draw_inputs(problem))
    gc.collect()
    resident_mib = 0.0
    if device.type == "cpu":
        _return_free_memory()
        peak = PeakMemory(device)
        before_mib = peak.mib()
        implementation.step()
        resident_mib = peak.mib() - before_mib
        implementation.forget_gradients()
    return max(resident_mib, extra_memory_mib(implementation.step, device))


def available_bytes(device: torch.device) -> int | None:
    """Return how much memory a process could still get on the device; None where the system does not say."""
    if device.type == "cuda":  # not yet run on a GPU
        free, _ = torch.cuda.mem_get_info(device)
        return free
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def fresh_processes() -> BaseContext:
    """Return how to start processes that share no memory and no thread with this one."""
    # Importing takes some seconds; a fork server does it once, before any thread or memory of a measurement.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _seconds(implementation: Implementation, device: torch.device) -> float:
    implementation.forget_gradients()
    _wait_for(device)
    start = time.perf_counter()
    implementation.step()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _warm_up(name: str, problem: Problem) -> None:
    # Libraries are loaded, kernels compiled and threads started before anything is measured.
    implementation = build(name, problem, draw_inputs(problem))
    for _ in range(WARM_UPS):
        implementation.step()
        implementation.forget_gradients()


def _return_free_memory() -> None:
    # What the warm-up freed, glibc keeps for the next allocation: it would hide as much of the growth.
    with suppress(OSError, AttributeError):  # another system, another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)

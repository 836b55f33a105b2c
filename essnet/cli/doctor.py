"""`doctor`: what this machine has, one line each."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from essnet.cli.terminal import (
    DEFAULT_OUTPUT,
    Debug,
    Json,
    Output,
    check_writable,
    people_console,
    print_json,
)
from essnet.config.errors import InputError
from essnet.cores import available_cores

Finding = tuple[bool, str]
"""Whether all is well, and what was found or what to do."""

_GIB = 2**30
_ENOUGH_DISK_GIB = 5
_ENOUGH_MEMORY_GIB = 4


def doctor(output: Output = DEFAULT_OUTPUT, as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine has: Python, torch, GPU, FAISS, numba, Ray, MLflow, memory, disk; ok or what to do.

    Examples:

      launch.py doctor
    """
    console = people_console(as_json)
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "torch": _torch,
        "gpu": _gpu,
        "faiss": _faiss,
        "numba": _numba,
        "ray": lambda: _imports("ray"),
        "mlflow": lambda: _imports("mlflow"),
        "memory": _memory,
        "disk": lambda: _disk(output),
        "store": lambda: _store(output),
    }
    findings: dict[str, Finding] = {}
    for name, check in checks.items():
        try:
            findings[name] = check()
        except Exception as error:  # a broken installation breaks in any way; the other checks still tell
            findings[name] = (False, f"{type(error).__name__}: {error}; install again from requirements.txt")
        well, text = findings[name]
        console.print(f"{'ok  ' if well else 'DO  '} {name:<8} {text}", markup=False)
    if as_json:
        print_json({name: {"ok": well, "text": text} for name, (well, text) in findings.items()})
    if not all(well for well, _ in findings.values()):
        raise typer.Exit(1)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)"


def _torch() -> Finding:
    import torch
    import torchvision

    return True, f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return True, "none that torch can use; trials run on the CPU"
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return True, ", ".join(f"{gpu.name} ({gpu.total_memory / _GIB:.0f} GiB)" for gpu in names)


def _faiss() -> Finding:
    import faiss

    return True, f"faiss {faiss.__version__}, sees {faiss.get_num_gpus()} GPUs"


def _numba() -> Finding:
    try:
        import numba
    except ImportError as error:
        return True, f"does not import ({error}); on a CPU the losses run in plain torch, at a third of the speed"
    return True, f"numba {numba.__version__}; compiles the losses at their first step on a CPU, once per machine"


def _imports(package: str) -> Finding:
    __import__(package)
    return True, f"{package} {importlib.metadata.version(package)}"


def _memory() -> Finding:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    cores = available_cores()
    advice = "" if free >= _ENOUGH_MEMORY_GIB else f"; a sweep wants {_ENOUGH_MEMORY_GIB} GiB, close something"
    return free >= _ENOUGH_MEMORY_GIB, f"{free:.1f} GiB free, {cores} CPU cores{advice}"


def _disk(output: Path) -> Finding:
    try:
        check_writable(output)
    except InputError as error:
        return False, str(error)
    folder = next(path for path in (output.absolute(), *output.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free / _GIB
    advice = "" if free >= _ENOUGH_DISK_GIB else "; make room, or choose another --output"
    return free >= _ENOUGH_DISK_GIB, f"{free:.1f} GiB free at {folder}{advice}"


def _store(output: Path) -> Finding:
    store = output / "mlflow.db"
    return True, f"{store}" if store.exists() else f"{store} is not there yet; the first run makes it"

"""Memory and time of a whole training step over the number of classes, and which number still fits a device.

    python benchmarks/growth.py --json growth.json

A step is encoder, decoder, output layer, loss, backward and AdamW on random images and targets. Each measurement is a
process of its own: its peak of resident memory beyond what it had before the model was built, and the median time of
`--steps` steps. Where a step would take more than is there, it is left out and says so.

What a step takes is c0 + P (c1 + c2 C) + c3 C bytes for P pixels and C classes: libraries and weights; what the network
holds of a pixel; what the objective holds of a pixel for each class; and weights, gradients and moments of a class. The
four are fitted to all measurements of an objective, by least relative squares and none below 0; from them follows the
largest C with which a step of `--target-pixels` pixels would fit into 8, 16, 24 and 80 GB. These numbers are computed,
of a network of this size and in float32, not tried.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from statistics import median
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import numpy as np
import torch
from scipy.optimize import nnls

from benchmarks.measurement import available_bytes, fresh_processes
from benchmarks.records import environment
from essnet.atomic_files import write_json
from essnet.config import trial_from_mapping
from essnet.losses.targets import IGNORE_INDEX
from essnet.models import build_model
from essnet.training.memory import PeakMemory
from essnet.training.optimization import build_optimizer

OBJECTIVES = ("full_softmax", "embedding_softmax", "knn_softmax", "sampled_softmax")
NUM_CLASSES = (19, 150, 1284, 5000, 20_000, 100_000)
GIGABYTES = (8, 16, 24, 80)
_COPIES = 4
"""Copies of the logits for which there has to be room before a full softmax is tried."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print the tables and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=OBJECTIVES)
    parser.add_argument("--num-classes", nargs="+", type=int, default=NUM_CLASSES)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batches", nargs="+", type=int, default=(2, 4), help="images of a batch; two sizes or more")
    parser.add_argument("--embedding-dim", type=int, default=12)
    parser.add_argument("--num-neighbours", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--target-pixels", type=int, default=8 * 512 * 512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    measured = []
    for num_classes in options.num_classes:
        for batch in options.batches:
            for objective in options.objectives:
                measured.append(_measured(options, objective=objective, num_classes=num_classes, batch=batch))
                print(_line(measured[-1]), flush=True)
    fits = {
        objective: fit([one for one in measured if one["objective"] == objective and one["mib"] is not None])
        for objective in options.objectives
    }
    result = {
        "encoder": options.encoder,
        "crop": options.crop,
        "embedding_dim": options.embedding_dim,
        "num_neighbours": options.num_neighbours,
        "steps": options.steps,
        "environment": environment(torch.device("cpu"), threads=options.threads),
        "measured": measured,
        "bytes": fits,
        "target_pixels": options.target_pixels,
        "largest_num_classes": {
            objective: {
                str(gigabytes): largest_num_classes(found, pixels=options.target_pixels, gigabytes=gigabytes)
                for gigabytes in GIGABYTES
            }
            for objective, found in fits.items()
        },
    }
    print(largest_table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 0


def _measured(options: argparse.Namespace, *, objective: str, num_classes: int, batch: int) -> dict[str, Any]:
    pixels = batch * options.crop**2
    found: dict[str, Any] = {"objective": objective, "num_classes": num_classes, "batch": batch, "pixels": pixels}
    available = available_bytes(torch.device("cpu"))
    logits = pixels * num_classes * 4
    if objective == "full_softmax" and available is not None and _COPIES * logits > available:
        return {**found, "mib": None, "step_ms": None, "left_out": f"{_COPIES} x {logits / 2**30:.1f} GiB of logits"}
    with ProcessPoolExecutor(1, mp_context=fresh_processes()) as process:
        try:
            mib, milliseconds = process.submit(measure_step, {**vars(options), **found}).result()
        except BrokenProcessPool:
            return {**found, "mib": None, "step_ms": None, "left_out": "the process was killed"}
    return {**found, "mib": mib, "step_ms": milliseconds, "left_out": None}


def measure_step(options: Mapping[str, Any]) -> tuple[float, float]:
    """Return the MiB that training holds at its peak, and the milliseconds of a step."""
    torch.set_num_threads(options["threads"])
    torch.manual_seed(0)
    objective: dict[str, Any] = {"name": options["objective"]}
    if objective["name"] != "full_softmax":
        objective["embedding_dim"] = options["embedding_dim"]
    if objective["name"] in ("knn_softmax", "sampled_softmax"):
        objective["num_neighbours"] = options["num_neighbours"]
    config = trial_from_mapping(
        {
            "name": "growth",
            "data": {"name": "textures", "num_classes": min(options["num_classes"], 2**16)},
            "model": {"encoder": options["encoder"]},
            "objective": objective,
        },
        (),
        source="growth.py",
    )
    images = torch.randint(256, (options["batch"], 3, options["crop"], options["crop"]), dtype=torch.uint8)
    targets = torch.randint(options["num_classes"], (options["batch"], options["crop"], options["crop"]))
    targets[:, :2] = IGNORE_INDEX
    gc.collect()
    peak = PeakMemory(torch.device("cpu"))
    before = peak.mib()
    model = build_model(
        model=config.model, objective=config.objective, num_classes=options["num_classes"], pretrained=False
    )
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer(model.parameter_groups(), config.optimizer)
    seconds = []
    for _ in range(options["steps"] + 1):  # the first one warms up
        begin = time.perf_counter()
        loss = model.output_layer.loss(model(images), targets)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return peak.mib() - before, 1000 * median(seconds[1:])


def fit(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the four coefficients in bytes: `fixed`, `pixel`, `pixel_class`, `class`."""
    sizes = np.array([one["mib"] * 2**20 for one in measured])
    pixels = np.array([one["pixels"] for one in measured], dtype=float)
    classes = np.array([one["num_classes"] for one in measured], dtype=float)
    columns = np.stack([np.ones_like(pixels), pixels, pixels * classes, classes], axis=1)
    scales = columns.max(axis=0)
    coefficients, _ = nnls(columns / scales / sizes[:, None], np.ones_like(sizes))
    return dict(zip(("fixed", "pixel", "pixel_class", "class"), (coefficients / scales).tolist(), strict=True))


def largest_num_classes(found: Mapping[str, float], *, pixels: int, gigabytes: float) -> int | None:
    """Return the largest C that fits; 0 where none does, None where memory does not grow with C at all."""
    left = gigabytes * 1e9 - found["fixed"] - pixels * found["pixel"]
    of_a_class = pixels * found["pixel_class"] + found["class"]
    if left <= 0:
        return 0
    return int(left / of_a_class) if of_a_class > 0 else None


def _line(one: Mapping[str, Any]) -> str:
    head = f"{one['objective']:<18} C {one['num_classes']:>7,}  {one['batch']} images"
    if one["mib"] is None:
        return f"{head}  left out: {one['left_out']}"
    return f"{head}  {one['mib']:>8,.0f} MiB  {one['step_ms']:>9,.0f} ms"


def largest_table(result: Mapping[str, Any]) -> str:
    """Return the largest numbers of classes in Markdown."""
    lines = [
        f"| a step of {result['target_pixels']:,} pixels | " + " | ".join(f"{one} GB" for one in GIGABYTES) + " |",
        "|---|" + "---|" * len(GIGABYTES),
    ]
    for objective, found in result["largest_num_classes"].items():
        cells = ("no limit" if one is None else f"{one:,}" if one else "none" for one in found.values())
        lines.append(f"| `{objective}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

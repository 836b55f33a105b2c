"""Whole steps of the Trainer beside a bare loop, in turns in one run.

    python benchmarks/training_loop.py --json training_loop.json

Both train the same model with the same loss on the same batches, which lie in memory. The bare loop is what one writes
down: forward, backward, optimizer, schedule. The Trainer has its data loader, looks at every loss and logs every
`--log-every` steps. A checkpoint is no part of a step: the last lines say for how long one stops the loop, which copies
what it needs, and for how long it is then written beside the loop. `--check` ends with 1 if the median over rounds of
Trainer / bare is above 1.05.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import torch
from torchvision import tv_tensors

from benchmarks.measurement import percentiles
from benchmarks.records import environment
from essnet.atomic_files import write_json
from essnet.config import TrialConfig, trial_from_mapping
from essnet.data import ClassTable
from essnet.data.loading import Sample
from essnet.training.batches import TrainBatches
from essnet.training.optimization import build_optimizer, build_schedule
from essnet.training.trainer import Trainer
from essnet.training.trial import build_trial

LARGEST_RATIO = 1.05
_WARM_UP_STEPS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print the table, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--objective", default="knn_softmax")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8, help="of each way in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--log-every", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--check", action="store_true", help=f"end with 1 above {LARGEST_RATIO}")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(options, Path(scratch))
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 1 if options.check and result["trainer_to_bare"]["p50"] > LARGEST_RATIO else 0


class InMemory:
    """A data set of one batch's images, made beforehand."""

    def __init__(self, *, number: int, size: int, num_classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.classes = ClassTable(tuple(f"class {index}" for index in range(num_classes)))
        self.images = torch.randint(256, (number, 3, size, size), dtype=torch.uint8, generator=generator)
        blocks = torch.randint(num_classes, (number, size // 16, size // 16), generator=generator)
        self.targets = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Sample:
        return tv_tensors.Image(self.images[index]), tv_tensors.Mask(self.targets[index])

    def describe(self, index: int) -> str:
        """Name an image."""
        return f"image {index}"


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Return the milliseconds of a step of either way, and the ratio of each round."""
    config = trial_of(options)
    bare_round = bare_steps(config, data=data_of(options), steps=options.steps)
    milliseconds: dict[str, list[float]] = {"trainer": [], "bare": []}
    begin = 0.0

    def after_step(step: int, _: Mapping[str, float]) -> None:
        # The Trainer stands still in here: the bare loop takes its round, and neither is in the other's time.
        nonlocal begin
        if (step - _WARM_UP_STEPS) % options.steps:
            return
        seconds = {"trainer": time.perf_counter() - begin, "bare": bare_round()}
        if step > _WARM_UP_STEPS:
            for name, found in seconds.items():
                milliseconds[name].append(1000 * found / options.steps)
        _synchronise(trainer.trial.device)
        begin = time.perf_counter()

    last = _WARM_UP_STEPS + options.rounds * options.steps
    trainer = Trainer(config, directory=scratch, progress=after_step, should_stop=lambda: trainer.step == last)
    trainer.trial = replace(trainer.trial, train_data=data_of(options))
    trainer._batches = TrainBatches(trainer.trial)
    trainer.train()
    checkpoints: list[tuple[float, float]] = [_checkpoint(trainer) for _ in range(options.rounds)]
    ratios = [ours / bare for ours, bare in zip(milliseconds["trainer"], milliseconds["bare"], strict=True)]
    return {
        "encoder": options.encoder,
        "objective": options.objective,
        "classes": options.classes,
        "crop": options.crop,
        "batch": options.batch,
        "steps": options.steps,
        "rounds": options.rounds,
        "environment": environment(trainer.trial.device, threads=torch.get_num_threads()),
        "step_ms": {name: percentiles(found) for name, found in milliseconds.items()},
        "trainer_to_bare": percentiles(ratios),
        "checkpoint_mib": sum(file.stat().st_size for file in scratch.glob("checkpoints/last/*")) / 2**20,
        "checkpoint_ms": {
            "loop stands": percentiles([stands for stands, _ in checkpoints]),
            "written beside": percentiles([beside for _, beside in checkpoints]),
        },
    }


def _checkpoint(trainer: Trainer) -> tuple[float, float]:
    """Return the milliseconds for which a checkpoint stops the loop, and for which it is written afterwards."""
    begin = time.perf_counter()
    trainer._save()
    copied = time.perf_counter()
    trainer._settle()
    return 1000 * (copied - begin), 1000 * (time.perf_counter() - copied)


def data_of(options: argparse.Namespace) -> InMemory:
    """Return the images that both ways train on."""
    return InMemory(number=options.batch, size=options.crop, num_classes=options.classes)


def trial_of(options: argparse.Namespace) -> TrialConfig:
    """Return the trial that both ways train."""
    steps = _WARM_UP_STEPS + options.rounds * options.steps
    return trial_from_mapping(
        {
            "name": "training-loop",
            "data": {
                "name": "textures",
                "num_classes": options.classes,
                "crop_size": options.crop,
                "train_images": options.batch,
                "val_images": 1,
            },
            "model": {"encoder": options.encoder},
            "objective": {"name": options.objective},
            "trainer": {
                "max_steps": steps + 1,  # the last one is never taken, so that nothing is evaluated
                "batch_size": options.batch,
                "log_every_steps": options.log_every,
                "device": options.device,
            },
        },
        (),
        source="training_loop.py",
    )


def bare_steps(config: TrialConfig, *, data: InMemory, steps: int) -> Callable[[], float]:
    """Return a function that takes a round of steps as one writes them down, and returns its seconds."""
    trial = build_trial(config, cache_dir=None)
    model, device = trial.model.train(), trial.device
    optimizer = build_optimizer(model.parameter_groups(), config.optimizer)
    schedule = build_schedule(optimizer, config.schedule, max_steps=config.trainer.max_steps)
    images, targets = data.images.to(device), data.targets.to(device)

    def take_round() -> float:
        _synchronise(device)
        begin = time.perf_counter()
        for _ in range(steps):
            loss = model.output_layer.loss(model(images), targets)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        _synchronise(device)
        return time.perf_counter() - begin

    return take_round


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"{result['encoder']}, {result['objective']}, {result['classes']} classes, {result['batch']} x "
        f"{result['crop']} x {result['crop']}, {result['rounds']} rounds of {result['steps']} steps"
    ]
    for name, found in {**result["step_ms"], "trainer / bare": result["trainer_to_bare"]}.items():
        form, unit = (".3f", "x") if "/" in name else (".1f", "ms")
        lines.append(_line(name, found, form, unit))
    lines.append(f"a checkpoint of {result['checkpoint_mib']:.0f} MiB")
    lines += [_line(name, found, ".1f", "ms") for name, found in result["checkpoint_ms"].items()]
    return "\n".join(lines)


def _line(name: str, found: Mapping[str, float], form: str, unit: str) -> str:
    low, middle, high = (format(found[percent], form) for percent in ("p20", "p50", "p80"))
    return f"  {name:<16}{middle:>9} {unit} ({low} - {high})"


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())

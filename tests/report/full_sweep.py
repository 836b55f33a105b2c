"""A made-up sweep with something for every part of the page: several seeds, stopped and failed trials, evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from essnet.atomic_files import write_json
from essnet.sweep.folder import COMPLETED, FAILED, STOPPED, SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder

STEPS = (20, 40, 60, 80, 100)
DIMS, NEIGHBOURS = (4, 12, 32), (1, 3, 7, 15)
BEST = "009-knn"
HOSTILE = "<script>alert(1)</script>"
CLASS_NAMES = ("road", "sky & cloud", "tree", HOSTILE, "person", "car $5$ | x")
GROUPS = ("frequent", "frequent", "common", "common", "rare", "rare")


def make_full_sweep(path: Path) -> SweepFolder:
    """Write 3 seeds of the baseline, 12 configurations of `knn`, the best of them (d = 12, k = 7) with 3 seeds, one
    stopped trial and one that failed."""
    folder = make_sweep_folder(path, num_trials=19)
    index = 0
    for seed in range(3):
        add_trial(folder, index, "full", _curve(0.60, seed, memory=48.0, step_ms=100.0), seed=seed,
                  overrides={"seed": seed} if seed else {}, replicates="000-full" if seed else None)  # fmt: skip
        index += 1
    for dim in DIMS:
        for neighbours in NEIGHBOURS:
            index = _add_knn(folder, index, dim, neighbours, seeds=3 if (dim, neighbours) == (12, 7) else 1)
    point = {"objective.embedding_dim": 8}
    exact = {"name": "embedding_softmax", "embedding_dim": 8}
    add_trial(folder, index, "exact", dict(list(_curve(0.9, 0, memory=9.0, step_ms=90.0).items())[:2]), state=STOPPED,
              objective=exact, point=point, overrides=point)  # fmt: skip
    add_trial(folder, index + 1, "exact", {}, state=FAILED, failure="crash", error=f"ValueError: {HOSTILE}",
              objective=exact, point=point, overrides={**point, "seed": 9}, seed=9)  # fmt: skip
    for trial_id, gain in (("000-full", 0.0), (BEST, 0.05)):
        add_evaluation(folder, trial_id, gain=gain, with_embeddings=trial_id == BEST)
    return folder


def _add_knn(folder: SweepFolder, index: int, dim: int, neighbours: int, *, seeds: int) -> int:
    level = 0.6 - 0.02 * abs(DIMS.index(dim) - 1) - 0.004 * abs(NEIGHBOURS.index(neighbours) - 2)
    point = {"objective.embedding_dim": dim, "objective.num_neighbours": neighbours}
    objective = {"name": "knn_softmax", "embedding_dim": dim, "num_neighbours": neighbours}
    first = f"{index:03d}-knn"
    for seed in range(seeds):
        own = {"seed": seed} if seed else {}
        add_trial(folder, index, "knn", _curve(level, seed, memory=2.0 + dim / 2, step_ms=60.0 + 4 * neighbours),
                  seed=seed, objective=objective, point=point, overrides={**point, **own},
                  replicates=first if seed else None, state=COMPLETED)  # fmt: skip
        index += 1
    return index


def _curve(level: float, seed: int, *, memory: float, step_ms: float) -> dict[int, dict[str, float]]:
    return {
        step: {
            "val/miou": level * (1 - 0.5 ** (step / 25)) + 0.01 * seed,
            "val/loss": 2.0 - step / 100,
            "perf/step_ms": step_ms + seed,
            "perf/loss_memory_mib": memory,
        }
        for step in STEPS
    }


def add_evaluation(folder: SweepFolder, trial_id: str, *, gain: float, with_embeddings: bool) -> None:
    """Write a trial's `evaluation/`: IoUs that rise by `gain` and fall by as much in turn, two pictures, embeddings."""
    path = folder.trial(trial_id) / "evaluation"
    path.mkdir(parents=True)
    colours = np.random.default_rng(0).integers(0, 255, (len(CLASS_NAMES), 3), dtype=np.uint8)
    classes = [
        {"id": class_id, "name": name, "iou": 0.5 + 0.05 * class_id + (gain if class_id % 2 else -gain / 2),
         "accuracy": 0.7, "pixels": 1000 // (class_id + 1), "predicted": 900, "group": group,
         "colour": colours[class_id].tolist()}
        for class_id, (name, group) in enumerate(zip(CLASS_NAMES, GROUPS, strict=True))
    ]  # fmt: skip
    pictures = []
    for number in range(2):
        generator = np.random.default_rng(number)
        truth = np.repeat(np.repeat(generator.integers(0, len(CLASS_NAMES), (4, 6)), 100, 0), 80, 1)
        prediction = np.roll(truth, 12 if gain else 30, axis=1)
        noisy = colours[truth].astype(np.int64) + generator.integers(-40, 40, (*truth.shape, 3))
        files = {"image": np.clip(noisy, 0, 255).astype(np.uint8), "truth": colours[truth],
                 "prediction": colours[prediction]}  # fmt: skip
        names = {kind: f"{number}-{kind}.png" for kind in files}
        for kind, pixels in files.items():
            Image.fromarray(pixels).save(path / names[kind])
        pictures.append({"name": f"scene <{number}>", **names})
    confusions = [{"truth": 1, "predicted": 2, "pixels": 80 + round(100 * gain)},
                  {"truth": 3, "predicted": 0, "pixels": 40 - round(100 * gain)}]  # fmt: skip
    write_json(
        path / "evaluation.json",
        {"format_version": 1, "step": 100, "classes": classes, "confusions": confusions, "pictures": pictures},
    )
    if with_embeddings:
        generator = torch.Generator().manual_seed(0)
        of_classes = torch.randn(8, 12, generator=generator)
        truth = torch.randint(0, len(CLASS_NAMES), (400,), generator=generator)
        of_pixels = of_classes[truth] + 0.2 * torch.randn(400, 12, generator=generator)
        save_file({"class_embeddings": of_classes, "pixel_embeddings": of_pixels, "pixel_classes": truth},
                  path / "embeddings.safetensors")  # fmt: skip

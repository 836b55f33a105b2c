"""A folder in which every command of the documentation finds what it names, all of it tiny."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from essnet.atomic_files import write_json
from essnet.config import load_sweep
from essnet.sweep.folder import PENDING
from essnet.sweep.resumable import saved_configuration
from essnet.training.trainer import Trainer
from tests.coco_lvis.generated import overlapping
from tests.data.fixtures import make_folder_dataset
from tests.data.official_fixtures import make_voc, write_lists
from tests.sweep.ended_sweep import write_ended_sweep
from tests.training.tiny import NUM_CLASSES, tiny_trial

ROOT = Path(__file__).resolve().parents[2]
NUM_TRIALS = 4


def prepare(folder: Path) -> Path:
    """Fill `folder` and return it."""
    for name in ("benchmarks", "cluster", "docs", "experiments", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("my_data", "data/camvid"):
        make_folder_dataset(folder / name, size=(32, 48))
    voc = make_voc(folder / "VOCdevkit", year=2007)
    write_lists(voc.root / "VOC2007" / "ImageSets" / "Segmentation", {"test": ["2007_000033"]})
    annotations = overlapping(num_images=4).write(folder / "annotations")
    (annotations / "images").rename(folder / "coco")
    for split in ("train", "val"):
        (annotations / f"lvis_{split}.json").rename(folder / f"lvis_v1_{split}.json")
        (annotations / f"stuff_{split}.json").rename(folder / f"stuff_{split}2017.json")
    _pictures(folder)
    _checkpoints(folder / "runs" / "train")
    for name in ("textures", "textures-2"):
        _sweep(folder / "runs" / name)
    # Examples of a class that comes later, and of old ones.
    make_folder_dataset(folder / "labelled", splits=("train",), size=(32, 32), num_classes=NUM_CLASSES + 1)
    names = [f"texture {number}" for number in range(NUM_CLASSES)]
    (folder / "labelled" / "classes.txt").write_text("\n".join([*names, "new"]) + "\n")
    (folder / "new.txt").write_text("new\n")
    return folder


def _pictures(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    for name in ("street.jpg", "photo.jpg", "photos/a.jpg", "more/b/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[0]).save(folder / name)
    with av.open(str(folder / "drive.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in noise:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode(None))


def _checkpoints(folder: Path) -> None:
    trial = tiny_trial({"objective.name": "knn_softmax", "objective.similarity": "dot", "trainer.max_steps": 2})
    Trainer(trial, directory=folder / "textures").train()
    for name in ("camvid", "city"):
        shutil.copytree(folder / "textures", folder / name, symlinks=True)


def _sweep(path: Path) -> None:
    """A sweep with Optuna, as the README shows one, whose last trial has not ended."""
    sweep = load_sweep(
        Path("experiments/textures/sweep.yaml"),
        ["search.algorithm=optuna", "search.num_trials=3", "data.num_classes=5", "trainer.batch_size=2"],
    )
    points = [(arm, arm.first_point()) for arm in sweep.arms] * 2
    folder = write_ended_sweep(path, sweep, points[:NUM_TRIALS], lambda config: {"val/miou": 0.5})
    last = folder.records()[-1]
    folder.write_record(replace(last, state=PENDING))
    for record in folder.records():
        (folder.trial(record.trial_id) / "log.txt").write_text("begun\n")
    state = {
        "name": path.name, "metric": "val/miou", "mode": "max", "baseline": "full_softmax", "num_trials": NUM_TRIALS,
        "tracking_uri": f"sqlite:///{path.parent}/mlflow.db", "parent_run_id": "parent",
        "configuration": saved_configuration(sweep),
    }  # fmt: skip
    write_json(path / "sweep.json", state)

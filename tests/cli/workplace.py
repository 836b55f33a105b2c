"""A folder with one of everything that a command can be given wrongly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.coco_lvis.generated import overlapping
from tests.data.fixtures import make_folder_dataset, save_mask
from tests.report.sweep_folders import add_trial, make_sweep_folder

ROOT = Path(__file__).resolve().parents[2]
TRIAL = """\
name: tiny
data: {name: textures, num_classes: 4, crop_size: 32, train_images: 8, val_images: 4, test_images: 4}
model: {architecture: deeplabv3plus, encoder: tu-test_resnet}
objective: {name: knn_softmax, embedding_dim: 4, num_neighbours: 2}
trainer: {batch_size: 2, device: cpu, num_threads: 1}
evaluation: {batch_size: 2, num_pictures: 1}
"""
SWEEP = """\
name: s
base: t.yaml
baseline: full
arms:
  full: {objective.name: full_softmax}
  knn: {objective.num_neighbours: {choice: [1, 2]}}
"""


def make_workplace(root: Path) -> Path:
    """Fill `root` with configurations, data sets, images and checkpoints, good and bad."""
    _configurations(root)
    _data(root)
    _checkpoints(root)
    _outputs(root)
    return root


def tree(root: Path) -> dict[str, int]:
    """Every path below `root`, with the size of files."""
    return {str(path.relative_to(root)): path.lstat().st_size if path.is_file() else -1 for path in root.rglob("*")}


def _configurations(root: Path) -> None:
    (root / "t.yaml").write_text(TRIAL)
    (root / "s.yaml").write_text(SWEEP)
    (root / "misspelt.yaml").write_text(TRIAL.replace("num_neighbours", "num_neighbors"))
    (root / "misspelt-arm.yaml").write_text(SWEEP.replace("objective.num_neighbours", "objective.num_neighbors"))
    (root / "endless.yaml").write_text(SWEEP.replace("objective.num_neighbours: {choice", "optimizer.lr: {float"))
    (root / "empty.yaml").write_text("")
    (root / "list.yaml").write_text("- 1\n")
    (root / "binary.yaml").write_bytes(bytes(range(256)))
    (root / "twice.yaml").write_text(f"{TRIAL}name: again\n")
    (root / "folder").mkdir()
    (root / "file").write_text("not a folder")


def _data(root: Path) -> None:
    make_folder_dataset(root / "data", size=(32, 48))
    make_folder_dataset(root / "five-classes", num_classes=5)
    bad = make_folder_dataset(root / "bad-mask")
    for split in ("train", "val"):
        save_mask(bad / "masks" / split / "001.png", np.full((12, 16), 77, np.uint8))
    (root / "words.png").write_text("no image")
    (root / "weights.pt").write_bytes(b"no tensors")
    overlapping(num_images=4).write(root / "coco")
    (root / "new.txt").write_text("class 3\nclass 4\n")
    make_folder_dataset(root / "examples", splits=("train",), size=(32, 32), num_classes=5)
    Image.new("RGB", (32, 32)).save(root / "ok.png")
    Image.new("RGB", (32, 32)).save(root / "folder" / "ok.jpg")


def _checkpoints(root: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "launch.py"),
        "train",
        "t.yaml",
        "--fast-dev-run",
        "--output",
        "trained",
        "--json",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    good = Path(json.loads(done.stdout.splitlines()[-1])["last_checkpoint"])
    for name in ("ck", "truncated", "bad-config", "bad-classes", "bad-trainer", "other-weights", "no-weights"):
        shutil.copytree(good, root / name)
    weights = (good / "model.safetensors").read_bytes()
    (root / "truncated" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    (root / "bad-config" / "config.yaml").write_text("name: [")
    (root / "bad-classes" / "classes.json").write_text("{")
    (root / "bad-trainer" / "trainer.pt").write_bytes(b"no state")
    text = (good / "config.yaml").read_text()
    (root / "other-weights" / "config.yaml").write_text(text.replace("embedding_dim: 4", "embedding_dim: 5"))
    (root / "no-weights" / "model.safetensors").unlink()
    shutil.copytree(root / "trained", root / "bad-last", symlinks=True)
    last = root / "bad-last" / "train" / "tiny-fast-dev-run" / "checkpoints" / good.name
    (last / "trainer.pt").write_bytes(b"no state")


def _outputs(root: Path) -> None:
    for name in ("s", "textures"):
        (root / "used" / name).mkdir(parents=True)
        (root / "used" / name / "sweep.json").write_text(json.dumps({"name": name}))
    done = make_sweep_folder(root / "runs" / "done")
    for index, arm in enumerate(("full", "knn", "knn")):
        add_trial(done, index, arm, {10: {"val/miou": 0.5 + 0.1 * index}, 20: {"val/miou": 0.6}})

"""A folder with one of everything that commands read, all of it sound."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.coco_lvis.generated import overlapping
from tests.data.fixtures import make_folder_dataset
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
    """Fill `root` with configurations, data sets, annotations, images, a checkpoint and sweeps."""
    _configurations(root)
    _data(root)
    _checkpoint(root)
    _outputs(root)
    return root


def tree(root: Path) -> dict[str, int]:
    """Every path below `root`, with the size of files."""
    return {str(path.relative_to(root)): path.lstat().st_size if path.is_file() else -1 for path in root.rglob("*")}


def _configurations(root: Path) -> None:
    (root / "t.yaml").write_text(TRIAL)
    (root / "s.yaml").write_text(SWEEP)
    (root / "folder").mkdir()
    (root / "file").write_text("not a folder")


def _data(root: Path) -> None:
    make_folder_dataset(root / "data", size=(32, 48))
    make_folder_dataset(root / "five-classes", num_classes=5)
    overlapping(num_images=4).write(root / "coco")
    (root / "new.txt").write_text("class 3\nclass 4\n")
    make_folder_dataset(root / "examples", splits=("train",), size=(32, 32), num_classes=5)
    Image.new("RGB", (32, 32)).save(root / "ok.png")
    Image.new("RGB", (32, 32)).save(root / "folder" / "ok.jpg")


def _checkpoint(root: Path) -> None:
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
    shutil.copytree(good, root / "ck")


def _outputs(root: Path) -> None:
    for name in ("s", "textures"):
        (root / "used" / name).mkdir(parents=True)
        (root / "used" / name / "sweep.json").write_text(json.dumps({"name": name}))
    done = make_sweep_folder(root / "runs" / "done")
    for index, arm in enumerate(("full", "knn", "knn")):
        add_trial(done, index, arm, {10: {"val/miou": 0.5 + 0.1 * index}, 20: {"val/miou": 0.6}})

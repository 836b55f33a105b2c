"""Freezes what this version of essnet leaves on a disk: to be run once for each version, before it is released.

.venv/bin/python -m tests.compat.make_examples
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from pathlib import Path

import yaml

from essnet import __version__
from essnet.atomic_files import read_json
from essnet.sweep.folder import COMPLETED, PENDING, SweepFolder
from tests.compat.examples import ARCHIVE, HERE, OUTPUT, SOURCE, STORE, SWEEP, TRIAL, replace_texts

ROOT = HERE.parents[1]
_CONFIGURATION = {
    "name": SWEEP,
    "base": {
        "data": {"name": "textures", "num_classes": 5, "crop_size": 32, "train_images": 16, "val_images": 4},
        # The smallest that there is: 95,000 weights, of which the encoder's are the same in all checkpoints.
        "model": {"architecture": "linknet", "encoder": "tu-test_efficientnet", "freeze_encoder": True},
        "objective": {"name": "knn_softmax", "embedding_dim": 4},
        "optimizer": {"name": "adamw", "lr": 0.004},
        "trainer": {"max_steps": 150, "batch_size": 4, "device": "cpu", "log_every_steps": 10},
        "evaluation": {"every_steps": 25, "batch_size": 4, "num_pictures": 1},
        "tracking": {"log_model": "none"},
    },
    "baseline": "full",
    "arms": {
        "full": {"objective.name": "full_softmax"},
        "knn": {"objective.num_neighbours": {"choice": [1, 2]}},
    },
    "resources": {"gpus": 0, "max_concurrent": 1},
    "scheduler": {"name": "median"},
}
_NOT_KEPT = (
    "mlflow.db", "mlflow.db.lock", "mlartifacts", "cache", "ray", "lock", "comparison.html", "comparison.png",
    "first_batch.png",
)  # fmt: skip
"""What is kept in another form, and what nothing reads again."""
_DEADLINE_SECONDS = 600.0


def main() -> None:
    """Run a sweep, interrupt it in its second trial, and pack what there is then."""
    target = HERE / f"essnet-{__version__}"
    if target.exists():
        sys.exit(f"{target}: is there already; what a version left is never changed")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder).resolve() / "outputs"
        _interrupted_sweep(output)
        _make_movable(output)
        target.mkdir()
        with tarfile.open(target / ARCHIVE, "w:xz", preset=9) as archive:
            for path in sorted(output.iterdir()):
                archive.add(path, path.name, filter=_kept)
    print(f"{target / ARCHIVE}: {(target / ARCHIVE).stat().st_size / 1024:.0f} KiB")


def _interrupted_sweep(output: Path) -> None:
    output.mkdir()
    (output / "sweep.yaml").write_text(yaml.safe_dump(_CONFIGURATION, sort_keys=False), encoding="utf-8")
    command = [sys.executable, str(ROOT / "launch.py"), "sweep", str(output / "sweep.yaml"), "--output", str(output)]
    sweep = SweepFolder(output / SWEEP)
    with subprocess.Popen(command, cwd=output) as process:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not (sweep.trial(TRIAL) / "checkpoints" / "last").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                sys.exit("the sweep did not come to its second trial")
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    states = [record.state for record in sweep.records()]
    steps = read_json(sweep.trial(TRIAL) / "progress.json")
    if process.returncode != 130 or states[0] != COMPLETED or states[1:].count(PENDING) != len(states) - 1:
        sys.exit(
            f"the sweep was not interrupted in its second trial ({process.returncode}, {states}, {steps}); run again"
        )


def _make_movable(output: Path) -> None:
    with closing(sqlite3.connect(output / "mlflow.db")) as database:
        (output / STORE).write_text("\n".join(database.iterdump()), encoding="utf-8")
    for name in _NOT_KEPT:
        for path in list(output.rglob(name)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    replace_texts(output, lambda text: text.replace(str(output), OUTPUT).replace(str(ROOT), SOURCE))


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Return a file without whose it was."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()

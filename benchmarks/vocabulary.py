"""A vocabulary that grows without touching the network, against training anew: mIoU of old and new classes over seeds.

    python benchmarks/vocabulary.py --output runs/vocabulary --json benchmarks/results/vocabulary.json

Scenes of 96 textures are written as a folder of images and masks. A first network is trained where only the first 64
classes are labelled, and the pixels of the others are ignored. `launch.py grow` then adds the other 32 from a few
labelled scenes, by mean rows and by learned ones; and a second network is trained anew with all 96 labelled in all
scenes. Each is evaluated on the same validation scenes, with all 96 labelled. `--output` keeps everything: what is
there already is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = Path(__file__).resolve().parents[1]
if str(_ROOT) not in sys.path:
    sys.path.insert(0, str(_ROOT))

import numpy as np
import torch
from PIL import Image

from benchmarks.records import environment
from essnet.atomic_files import write_json
from essnet.data import TexturesDataset

IGNORED = 255
METRICS = ("val/miou", "val/miou_old", "val/miou_new")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, grow and evaluate what the command line asks for; print a line for each, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--similarities", nargs="+", default=("dot", "l2"))
    parser.add_argument("--num-old", type=int, default=64)
    parser.add_argument("--num-new", type=int, default=32)
    parser.add_argument("--train-scenes", type=int, default=4096)
    parser.add_argument("--example-scenes", type=int, default=120)
    parser.add_argument("--val-scenes", type=int, default=256)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learn", type=int, default=200)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    write_folders(options)
    results = [
        result
        for similarity in options.similarities
        for seed in options.seeds
        for result in one_seed(options, similarity=similarity, seed=seed)
    ]
    settings = {key: value for key, value in vars(options).items() if key not in ("output", "json")}
    found = {
        "settings": settings,
        "environment": environment(torch.device("cpu"), threads=torch.get_num_threads()),
        "results": results,
    }
    if options.json is not None:
        write_json(options.json, found)
    return 0


def write_folders(options: argparse.Namespace) -> None:
    """Write the data sets `old` (new classes ignored), `all`, and the labelled `examples`."""
    num_classes = options.num_old + options.num_new
    names = [f"texture {index}" for index in range(num_classes)]
    lengths = {"train": options.train_scenes, "val": options.val_scenes, "test": options.example_scenes}
    for split, length in lengths.items():
        scenes = TexturesDataset(split=split, num_classes=num_classes, length=length)
        for folder in ("old", "all") if split != "test" else ("examples",):
            root = options.output / folder
            if (root / f"{split}.done").exists():
                continue
            known = options.num_old if folder == "old" else num_classes
            _write_scenes(scenes, root, split="train" if folder == "examples" else split, known=known)
            (root / "classes.txt").write_text("\n".join(names[:known]) + "\n")
            (root / f"{split}.done").touch()
    (options.output / "new.txt").write_text("\n".join(names[options.num_old :]) + "\n")


def _write_scenes(scenes: TexturesDataset, root: Path, *, split: str, known: int) -> None:
    images, masks = root / "images" / split, root / "masks" / split
    for folder in (images, masks):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for index in range(len(scenes)):
        image, mask = scenes[index]
        labels = np.where(mask.numpy() < known, mask.numpy(), IGNORED).astype(np.uint8)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(images / f"{index:05d}.png", compress_level=1)
        Image.fromarray(labels).save(masks / f"{index:05d}.png", compress_level=1)


def one_seed(options: argparse.Namespace, *, similarity: str, seed: int) -> list[dict[str, Any]]:
    """Return what each way to the larger vocabulary reaches."""
    first = trained(options, "old", similarity=similarity, seed=seed)
    anew = trained(options, "all", similarity=similarity, seed=seed)
    means = grown(options, first, "mean", similarity=similarity, seed=seed)
    learned = grown(options, first, "learned", "--learn", str(options.learn), similarity=similarity, seed=seed)
    results = []
    for way, checkpoint in {"before": first, "mean rows": means, "learned rows": learned, "anew": anew}.items():
        root = options.output / ("old" if way == "before" else "all")
        metrics = evaluated(options, checkpoint, root)
        if way == "anew":
            metrics |= _of_both(metrics.pop("classes"), options.num_old)
        metrics.pop("classes", None)
        results.append({"similarity": similarity, "seed": seed, "way": way, "metrics": metrics})
        print(similarity, seed, way, {name: round(value, 3) for name, value in metrics.items()}, flush=True)
    return results


def trained(options: argparse.Namespace, folder: str, *, similarity: str, seed: int) -> Path:
    """Return the checkpoint of a network that was trained on one of the folders."""
    name = f"{folder}-{similarity}-{seed}"
    checkpoint = options.output / "train" / name / "checkpoints" / "last"
    root = (options.output / folder).absolute()
    if not (options.output / "train" / name / "result.json").exists():
        run(
            *("train", _ROOT / "experiments" / "textures" / "trial.yaml", f"name={name}", f"seed={seed}"),
            f"data={{name: folder, root: {root}, crop_size: 64, scale: [1, 1], flip: 0}}",
            f"objective={{name: embedding_softmax, embedding_dim: 32, similarity: {similarity}, logit_scale: 10}}",
            *("optimizer.class_embeddings_lr_factor=3", f"trainer.max_steps={options.steps}"),
            *("evaluation.num_pictures=0", "--resume" if checkpoint.exists() else None, "--output", options.output),
        )
    return checkpoint


def grown(options: argparse.Namespace, checkpoint: Path, way: str, *arguments: str, similarity: str, seed: int) -> Path:
    """Return the checkpoint of a network to which the new classes were added."""
    kept = options.output / "grown" / f"{way}-{similarity}-{seed}"
    if not kept.exists():
        said = run(
            *("grow", checkpoint, "--classes", options.output / "new.txt", "--examples", options.output / "examples"),
            *(*arguments, "--ignore-value", IGNORED, "--output", options.output, "--json"),
        )
        kept.parent.mkdir(exist_ok=True)
        Path(said["checkpoint"]).rename(kept)
    return kept


def evaluated(options: argparse.Namespace, checkpoint: Path, root: Path) -> dict[str, Any]:
    """Return the metrics of the validation scenes, and the classes' own."""
    said = run("evaluate", checkpoint, f"data.root={root.absolute()}", "--output", options.output, "--json")
    metrics = {name: value for name, value in said["metrics"].items() if name in METRICS}
    return {**metrics, "classes": said["classes"]}


def _of_both(classes: Sequence[dict[str, Any]], num_old: int) -> dict[str, float]:
    """Return the mIoU of old and of new classes, as `evaluate` does where it knows which were added."""
    iou = [row["iou"] for row in classes]
    old, new = ([value for value in part if value is not None] for part in (iou[:num_old], iou[num_old:]))
    return {"val/miou_old": float(np.mean(old)), "val/miou_new": float(np.mean(new))}


def run(*arguments: object) -> dict[str, Any]:
    """Run `launch.py`; return what `--json` printed, or {} without it."""
    words = [str(argument) for argument in arguments if argument is not None]
    done = subprocess.run([sys.executable, str(_ROOT / "launch.py"), *words], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if "--json" in words else {}
    return found


if __name__ == "__main__":
    sys.exit(main())

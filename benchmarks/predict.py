"""Images a second of `predict` beside the obvious loop, in turns in one process.

    python benchmarks/predict.py CHECKPOINT FOLDER [--images 64] [--rounds 3] [--batch-size 8] [--output record.json]

The loop reads an image, predicts it and writes its files before it reads the next one; both write the same files, class
indices and an overlay with a legend. Pixels whose class differs are counted: a batch rounds differently than one image.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measurement import percentiles
from benchmarks.records import Record, environment
from essnet.data import ClassTable
from essnet.models import SegmentationModel
from essnet.training.checkpoint import open_checkpoint
from essnet.training.device import resolve_device
from essnet.training.free_memory import keep_heap
from essnet.training.prediction import predict_batch
from essnet.training.prediction_files import PredictionFiles
from essnet.training.prediction_inputs import PredictionInput, find_inputs
from essnet.training.prediction_stream import PredictionStream
from essnet.training.trial import load_model


def main() -> None:
    """Measure, print, and keep the record where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="images, of which the first are taken")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="a JSON file for the record")
    arguments = parser.parse_args()
    opened = open_checkpoint(arguments.checkpoint)
    device = resolve_device(arguments.device, key="--device")
    model = load_model(opened, device=device)
    with tempfile.TemporaryDirectory() as folder:
        inputs = find_inputs([arguments.folder], output=Path(folder), seconds=1)[: arguments.images]
        record = measured(
            model,
            inputs,
            classes=opened.classes,
            folder=Path(folder),
            rounds=arguments.rounds,
            batch_size=arguments.batch_size,
        )
    record["environment"] = environment(device, threads=torch.get_num_threads())
    for way in ("loop", "predict"):
        print(f"{way:<8} {record[way]['p50']:7.2f} images/s  ({record[way]['p20']:.2f} to {record[way]['p80']:.2f})")
    print(f"predict is {record['ratio']:.2f} x as fast; {record['differing_share']:.1e} of the pixels differ")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


def measured(
    model: SegmentationModel,
    inputs: Sequence[PredictionInput],
    *,
    classes: ClassTable,
    folder: Path,
    rounds: int,
    batch_size: int,
) -> Record:
    """Predict all inputs both ways, a few once before that, and return images a second as percentiles of the rounds."""
    keep_heap()  # as the command does
    files = PredictionFiles(classes=classes)

    def loop(items: Sequence[PredictionInput]) -> None:
        for item in items:
            pixels = item.read()
            files.save(pixels, predict_batch(model, [pixels])[0], folder / "loop" / item.stem)

    def stream(items: Sequence[PredictionInput]) -> None:
        PredictionStream(model, files=files, output=folder / "predict", batch_size=batch_size).run(items)

    ways: dict[str, Callable[[Sequence[PredictionInput]], None]] = {"loop": loop, "predict": stream}
    for way in ways.values():
        way(inputs[:batch_size])
    pace: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(inputs)
            pace[name].append(len(inputs) / (time.perf_counter() - begin))
    differing = [
        np.mean(np.asarray(Image.open(one)) != np.asarray(Image.open(other)))
        for one, other in ([files.paths(folder / name / item.stem)["labels"] for name in ways] for item in inputs)
    ]
    return {
        "images": len(inputs),
        "batch_size": batch_size,
        **{name: percentiles(values) for name, values in pace.items()},
        "ratio": float(np.median(pace["predict"]) / np.median(pace["loop"])),
        "differing_share": float(np.mean(differing)),
    }


if __name__ == "__main__":
    main()

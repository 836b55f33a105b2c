"""Masks a second of the COCO+LVIS builder, beside the plain way and the floor, in turns in one run.

    python benchmarks/coco_lvis_builder.py --root <folder> --json builder.json

`--root` holds train2017/, val2017/ and annotations/ with lvis_v1_{train,val}.json and stuff_{train,val}2017.json.

`naive` is the plain way in one process: annotations are parsed beforehand, pycocotools decodes each to a full mask,
numpy pastes it where nothing lies yet, Pillow writes the PNG. `builder` is what `data build-coco-lvis` does in its
processes, from an annotation's JSON text to the file in its place. `floor` is the part of it that is left if painting
cost nothing: run lengths decoded, the PNG compressed and written; it is timed inside as many processes, without what
goes between them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks

from benchmarks.measurement import percentiles
from essnet.atomic_files import write_atomically, write_json
from essnet.coco_lvis.annotations import AnnotationFile
from essnet.coco_lvis.builder import BuildRequest, build
from essnet.coco_lvis.label_space import NUM_CLASSES
from essnet.coco_lvis.masks import MaskTask, make_masks, paint_mask
from essnet.coco_lvis.painting import Canvas, to_png_rows
from essnet.coco_lvis.png import encode_png16
from essnet.coco_lvis.segmentations import read_segmentation
from essnet.coco_lvis.selection import mask_tasks, select_images
from essnet.workers import Workers

_PER_TASK = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print a table, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=4, help="times that the builder and the floor do all images")
    parser.add_argument("--scratch", type=Path, help="folder below which masks are written and deleted again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        result = measure(
            options.root,
            Path(scratch),
            workers=options.workers,
            rounds=options.rounds,
            repeat=options.repeat,
        )
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 0


def measure(root: Path, scratch: Path, *, workers: int, rounds: int, repeat: int) -> dict[str, Any]:
    """Measure on the images of `root` and return masks a second: 20th, 50th and 80th percentile of the rounds."""
    tasks = read_tasks(root, scratch)
    parsed = [[json.loads(shape.segmentation) for shape in task.shapes] for task in tasks]
    with Workers(workers, module="essnet.coco_lvis.masks") as processes:

        def naive(masks: list[MaskTask]) -> float:
            return _seconds(lambda: [_paste(task, found) for task, found in zip(masks, parsed, strict=True)])

        def builder(masks: list[MaskTask]) -> float:
            return _seconds(lambda: list(processes.map(make_masks, _in_lists(masks))))

        def floor(masks: list[MaskTask]) -> float:
            return sum(processes.map(floor_seconds, _in_lists(masks))) / max(1, workers)

        ways: dict[str, tuple[Callable[[list[MaskTask]], float], int]] = {
            "naive": (naive, 1),
            "builder": (builder, repeat),
            "floor": (floor, repeat),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            made = {}
            for name, (way, times) in ways.items():
                # Always new folders, and none deleted before the end: file systems are slow for a while where many
                # files were deleted, or take each other's place.
                folders = [scratch / f"{name}-{turn}-{copy}" for copy in range(times)]
                made[name] = [task for folder in folders for task in _moved(tasks, folder)]
                seconds = way(made[name])
                if turn:  # the first turn compiles, and reads files for the first time
                    speeds[name].append(times * len(tasks) / seconds)
    _compare(made["naive"], made["builder"][: len(tasks)])
    middle = {name: float(np.median(found)) for name, found in speeds.items()}
    return {
        "images": len(tasks),
        "annotations": sum(len(task.shapes) for task in tasks),
        "workers": workers,
        "rounds": rounds,
        "masks_per_second": {name: percentiles(found) for name, found in speeds.items()},
        "builder_to_naive": middle["builder"] / middle["naive"],
        "floor_to_builder": middle["floor"] / middle["builder"],
        "whole_build_seconds": _seconds(lambda: _build(root, scratch / "whole", workers)),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"{result['images']} images, {result['annotations']} annotations, {result['workers']} workers",
        f"  {'masks a second':<16}{'20 %':>9}{'median':>9}{'80 %':>9}",
    ]
    for name, found in result["masks_per_second"].items():
        lines.append(f"  {name:<16}" + "".join(f"{found[percent]:>9.0f}" for percent in ("p20", "p50", "p80")))
    lines.append(
        f"  builder / naive {result['builder_to_naive']:.1f}, floor / builder {result['floor_to_builder']:.2f}"
    )
    lines.append(f"  the whole command's work on these images, with start-up: {result['whole_build_seconds']:.1f} s")
    return "\n".join(lines)


def read_tasks(root: Path, scratch: Path) -> list[MaskTask]:
    """Return what it takes to make each mask of both splits."""
    asked = _request(root, scratch)
    stuff = [AnnotationFile(source, path) for source, path in asked.stuff.items()]
    tasks = []
    for split, path in asked.lvis.items():
        lvis = AnnotationFile(f"lvis_{split}", path)
        folder = scratch / split
        folder.mkdir(parents=True)
        selection = select_images(lvis=lvis, stuff=stuff, images=root)
        tasks += list(mask_tasks(selection.images, lvis=lvis, stuff=stuff, masks=folder))
    return tasks


def floor_seconds(tasks: list[MaskTask]) -> float:
    """Return the seconds that decoding, compressing and writing take, with painted rows at hand."""
    seconds = 0.0
    canvas = Canvas()
    for task in tasks:
        columns, _, _ = paint_mask(task, canvas)
        rows = canvas.rows(task.height, task.width)
        to_png_rows(columns, rows, np.zeros(NUM_CLASSES + 1, np.int64))
        begin = time.perf_counter()
        for shape in task.shapes:
            read_segmentation(shape.segmentation, height=task.height, width=task.width)
        content = encode_png16(rows)
        write_atomically(Path(task.mask), lambda path, content=content: path.write_bytes(content))
        seconds += time.perf_counter() - begin
    return seconds


def _moved(tasks: Sequence[MaskTask], folder: Path) -> list[MaskTask]:
    folder.mkdir()
    return [task._replace(mask=str(folder / Path(task.mask).name)) for task in tasks]


def _paste(task: MaskTask, segmentations: list[Any]) -> None:
    height, width = task.height, task.width
    mask = np.zeros((height, width), np.uint16)
    for shape, segmentation in zip(task.shapes, segmentations, strict=True):
        runs = segmentation
        if isinstance(segmentation, list):
            runs = coco_masks.merge(coco_masks.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            runs = coco_masks.frPyObjects(segmentation, height, width)
        inside = coco_masks.decode(runs)
        mask[(inside == 1) & (mask == 0)] = shape.class_id
    Image.fromarray(mask).save(task.mask)


def _compare(naive: Sequence[MaskTask], builder: Sequence[MaskTask]) -> None:
    """See that both ways made the same masks, but for stuff below `other`, which the plain way does not hide."""
    for task, made in zip(naive, builder, strict=True):
        plain, ours = (np.array(Image.open(path)) for path in (task.mask, made.mask))
        hidden = any(shape.class_id == 0 for shape in task.shapes)
        if not (np.array_equal(plain, ours) or (hidden and np.array_equal(plain[ours > 0], ours[ours > 0]))):
            raise AssertionError(f"image {task.image_id}: the two ways made different masks")


def _request(root: Path, output: Path) -> BuildRequest:
    annotations = root / "annotations"
    return BuildRequest(
        images=root,
        output=output,
        lvis={split: annotations / f"lvis_v1_{split}.json" for split in ("train", "val")},
        stuff={f"stuff_{split}": annotations / f"stuff_{split}2017.json" for split in ("train", "val")},
    )


def _build(root: Path, output: Path, workers: int) -> None:
    build(_request(root, output), workers=workers, progress=lambda what, done, total: None)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _in_lists(tasks: Sequence[MaskTask]) -> list[list[MaskTask]]:
    iterator = iter(tasks)
    return [some for _ in range(0, len(tasks), _PER_TASK) if (some := list(islice(iterator, _PER_TASK)))]


if __name__ == "__main__":
    sys.exit(main())

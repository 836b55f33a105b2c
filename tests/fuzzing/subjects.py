"""What is fuzzed: each takes the number of a case, makes its input of it, and gives that to the code that reads it."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from essnet.coco_lvis.builder import build
from essnet.config import InputError, load_sweep, load_trial, to_yaml
from essnet.data.class_table import read_class_table
from essnet.data.image_files import check_image_size, read_image, read_mask_ids
from essnet.data.image_regions import read_region
from essnet.data.mask_labels import MaskLabels
from essnet.data.mat_labels import read_mat_ids
from essnet.downloads.archive import Archive, DownloadFailed
from essnet.downloads.unpacking import unpack
from essnet.report import answer, comparison_table, load_comparison
from essnet.sweep.plan import trial_counts
from essnet.training.checkpoint import open_checkpoint
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.cli.workplace import SWEEP, TRIAL
from tests.coco_lvis.generated import overlapping, request
from tests.data.official_fixtures import write_palette
from tests.downloads.archives import tar_of, zip_of
from tests.fuzzing import grammar
from tests.fuzzing.mutations import mutated, mutated_json, mutated_value, with_png_checksums
from tests.report.sweep_folders import add_trial, make_sweep_folder
from tests.training.tiny import tiny_trial

_BATCH = 50

ANSWERS = (InputError, DownloadFailed)
"""What may be said of a bad input: one line for people."""

Run = Callable[[int], None]
"""Runs the case of a number; raises one of ANSWERS, or nothing where the input is taken."""
Subject = Callable[[Path], Run]
"""Prepares a folder, once."""


def _random(subject: str, number: int) -> Random:
    return Random(f"{subject} {number}")


def _drawn(strategy: st.SearchStrategy[Any], number: int) -> Any:
    """What hypothesis draws for a number; the first that it draws for any seed is the simplest there is."""
    drawn = _batch(strategy, number // _BATCH)
    return drawn[number % _BATCH % len(drawn)]


@lru_cache(maxsize=1)
def _batch(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=_BATCH,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found


def _trials(folder: Path) -> Run:
    texts = grammar.trial_texts()

    def run(number: int) -> None:
        path = folder / "x.yaml"
        path.write_text(_drawn(texts, number), encoding="utf-8", errors="surrogateescape")
        config = load_trial(path)
        (folder / "again.yaml").write_text(to_yaml(config), encoding="utf-8")
        if load_trial(folder / "again.yaml") != config:
            raise AssertionError("the configuration that was saved is another one")

    return run


def _sweeps(folder: Path) -> Run:
    texts = grammar.sweep_texts()

    def run(number: int) -> None:
        path = folder / "x.yaml"
        path.write_text(_drawn(texts, number), encoding="utf-8", errors="surrogateescape")
        trial_counts(load_sweep(path))

    return run


def _overrides(folder: Path) -> Run:
    (folder / "t.yaml").write_text(TRIAL)
    (folder / "s.yaml").write_text(SWEEP)
    strategy = grammar.overrides()

    def run(number: int) -> None:
        arguments = _drawn(strategy, number)
        if number % 2:
            load_trial(folder / "t.yaml", arguments)
        else:
            trial_counts(load_sweep(folder / "s.yaml", arguments))

    return run


def _pictures() -> Iterator[tuple[str, bytes]]:
    """A picture in each format and kind that is read."""
    levels = np.random.default_rng(0).integers(0, 4, (24, 40)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for ending, mode, options in (
        ("png", "RGB", {}), ("png", "P", {}), ("png", "L", {}), ("png", "LA", {}), ("png", "1", {}),
        ("png", "I;16", {}), ("jpg", "RGB", {"exif": exif}), ("jpg", "L", {}), ("jpg", "CMYK", {}), ("webp", "RGB", {}),
        ("bmp", "RGB", {}),
        ("tif", "RGB", {}), ("tif", "RGB", {"compression": "tiff_lzw"}), ("tif", "L", {"compression": "tiff_deflate"}),
    ):  # fmt: skip
        file = io.BytesIO()
        picture = Image.fromarray(levels.astype(np.uint16) if mode == "I;16" else levels)
        (picture if mode == "I;16" else picture.convert(mode)).save(
            file, format={"jpg": "jpeg", "tif": "tiff"}.get(ending, ending), **options
        )
        yield ending, file.getvalue()


def _images(folder: Path) -> Run:
    sound = list(_pictures())

    def run(number: int) -> None:
        random = _random("image", number)
        ending, content = random.choice(sound)
        content = mutated(content, random)
        path = folder / f"x.{ending}"
        path.write_bytes(with_png_checksums(content) if random.random() < 0.7 else content)
        check = random.randrange(3)
        if check == 0:
            read_image(path)
        elif check == 1:
            read_image(path, mask_size=(24, 40))
            check_image_size(path, (24, 40))
        else:
            read_region(path, (slice(0, 24), slice(0, 40)), size=(6, 10), mask_size=(24, 40))

    return run


def _masks(folder: Path) -> Run:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40))
    sound = [content for ending, content in _pictures() if ending in ("png", "tif")]
    write_palette(folder / "x.png", ids.astype(np.uint8))
    sound.append((folder / "x.png").read_bytes())

    def run(number: int) -> None:
        random = _random("mask", number)
        kind = random.random()
        names = b"a\nb\nc\nd\n"
        (folder / "classes.txt").write_bytes(mutated(names, random) if kind < 0.1 else names)
        labels = MaskLabels(classes=read_class_table(folder / "classes.txt"))
        path = folder / "x.png"
        content = mutated(random.choice(sound), random)
        path.write_bytes(with_png_checksums(content) if random.random() < 0.7 else content)
        found = read_mask_ids(path)
        labels.to_targets(found, path=path)
        labels.count(found, path=path)

    return run


def _matlab_labels(folder: Path) -> Run:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40))
    names = np.array(["a", "bcd"], object)
    sound = []
    for dtype in ("u1", "f8"):
        for content in (
            {"names": names, "S": ids.astype(dtype), "S2": 3},
            {"S": {"cells": names, "Segmentation": ids.astype(dtype)}},
        ):
            file = io.BytesIO()
            savemat(file, content)
            sound.append(file.getvalue())
    header = len(b"MATLAB".ljust(128))

    def run(number: int) -> None:
        random = _random("MATLAB labels", number)
        content = random.choice(sound)
        kind = random.random()
        if kind < 0.6:  # where all else is said
            content = content[:header] + mutated(content[header:], random)
        if kind > 0.4:
            variables = zlib.compress(content[header:])
            content = content[:header] + struct.pack("<II", 15, len(variables)) + variables
        path = folder / "x.mat"
        path.write_bytes(mutated(content, random) if kind > 0.6 else content)
        read_mat_ids(path, variable="S", field=random.choice((None, "Segmentation")))

    return run


def _annotations(folder: Path) -> Run:
    overlapping(num_images=2, per_image=2).write(folder)
    sound = {path: path.read_text() for path in folder.glob("*.json")}

    def run(number: int) -> None:
        random = _random("annotations", number)
        shutil.rmtree(folder / "out", ignore_errors=True)
        for path, text in sound.items():
            path.write_text(text)
        path = random.choice(list(sound))
        content = json.loads(sound[path])
        # Most of the file are its categories: what is in the other lists is changed more often.
        part = random.choice(("images", "annotations", "annotations", ""))
        if part:
            content[part] = mutated_value(content[part], random)
            path.write_text(json.dumps(content))
        else:
            path.write_bytes(mutated(sound[path].encode(), random))
        build(request(folder), workers=0, progress=lambda *_: None)

    return run


def _checkpoints(folder: Path) -> Run:
    torch.set_num_threads(1)
    trial = tiny_trial({"objective.name": "knn_softmax", "trainer.max_steps": 1, "evaluation.every_steps": 1})
    sound = Trainer(trial, directory=folder / "run").train().last_checkpoint
    assert sound is not None
    resumed = Trainer(trial, directory=folder / "another")
    files = ("model.safetensors", "trainer.pt", "config.yaml", "classes.json", "checksums.json")

    def run(number: int) -> None:
        random = _random("checkpoint", number)
        path = folder / "ck"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(sound, path)
        name = random.choice(files)
        content = (sound / name).read_bytes()
        if name.endswith(".json"):
            content = mutated_json(content.decode(), random)
        elif random.random() < 0.5:  # where it matters most: what says how the rest is to be read
            content = mutated(content[:4096], random) + content[4096:]
        else:
            content = mutated(content, random)
        (path / name).write_bytes(content)
        if name != "checksums.json" and random.random() < 0.8:
            (path / "checksums.json").unlink()
        opened = open_checkpoint(path)
        if name == "trainer.pt":
            resumed.state.restore(opened.load())
        else:
            load_model(opened, device=torch.device("cpu"))

    return run


def _sweep_folders(folder: Path) -> Run:
    sweep = make_sweep_folder(folder / "sweep")
    for index, arm in enumerate(("full", "knn", "knn")):
        add_trial(sweep, index, arm, {10: {"val/miou": 0.5}, 20: {"val/miou": 0.6, "perf/step_ms": 3.0}})
    sound = {path: path.read_text() for path in (folder / "sweep").rglob("*") if path.is_file()}

    def run(number: int) -> None:
        random = _random("sweep folder", number)
        for path, text in sound.items():
            path.write_text(text)
        path = random.choice(list(sound))
        if path.suffix == ".json":
            path.write_bytes(mutated_json(sound[path], random))
        elif path.suffix == ".jsonl":
            first, *rest = sound[path].splitlines()
            path.write_bytes(b"\n".join([mutated_json(first, random), *(line.encode() for line in rest), b""]))
        else:
            path.write_bytes(mutated(sound[path].encode(), random))
        comparison = load_comparison(sweep)
        answer(comparison)
        comparison_table([comparison])

    return run


def _archives(folder: Path) -> Run:
    files = {"a/b.txt": b"x" * 500, "a/c/d.bin": bytes(range(256)) * 4, "e": b""}
    sound = {"x.zip": zip_of(files), "x.tar": tar_of(files), "x.tar.gz": tar_of(files, gzipped=True)}
    root = folder / "root"

    def run(number: int) -> None:
        random = _random("archive", number)
        name = random.choice(list(sound))
        path = folder / name
        path.write_bytes(mutated(sound[name], random))
        shutil.rmtree(root, ignore_errors=True)
        before = set(folder.iterdir())
        try:
            unpack(
                Archive(address=f"http://x/{name}"),
                path,
                root=root,
                staging=folder / "staging",
                progress=lambda *_: None,
            )
        finally:
            if set(folder.iterdir()) - before - {root}:
                raise AssertionError(f"left outside the root: {set(folder.iterdir()) - before - {root}}")

    return run


SUBJECTS: dict[str, Subject] = {
    "trials": _trials,
    "sweeps": _sweeps,
    "overrides": _overrides,
    "images": _images,
    "masks": _masks,
    "MATLAB labels": _matlab_labels,
    "annotations": _annotations,
    "checkpoints": _checkpoints,
    "sweep folders": _sweep_folders,
    "archives": _archives,
}

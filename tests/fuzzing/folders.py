"""Annotations, checkpoints, sweeps' folders and archives made wrong at random, given to what reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from essnet.cli.sweep_snapshot import SnapshotReader
from essnet.cli.sweep_tables import standing
from essnet.coco_lvis.builder import build
from essnet.downloads.archive import Archive
from essnet.downloads.unpacking import unpack
from essnet.report import (
    answer,
    comparison_csv,
    comparison_json,
    comparison_latex,
    comparison_markdown,
    comparison_table,
    load_comparison,
)
from essnet.report.page.writing import page_text
from essnet.sweep.folder import SweepFolder
from essnet.training.checkpoint import open_checkpoint
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.coco_lvis.generated import overlapping, request
from tests.compat.examples import SWEEP, examples, unpack_example
from tests.downloads.archives import tar_of, zip_of
from tests.fuzzing.cases import Run, random_of
from tests.fuzzing.mutations import mutated, mutated_json, mutated_value
from tests.training.tiny import tiny_trial

_CASES_PER_PAGE = 50
"""A page of charts takes a hundred times as long as all the other forms of a comparison."""


def annotations(folder: Path) -> Run:
    overlapping(num_images=2, per_image=2).write(folder)
    sound = {path: path.read_text() for path in folder.glob("*.json")}

    def run(number: int) -> None:
        random = random_of("annotations", number)
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


def checkpoints(folder: Path) -> Run:
    torch.set_num_threads(1)
    trial = tiny_trial({"objective.name": "knn_softmax", "trainer.max_steps": 1, "evaluation.every_steps": 1})
    sound = Trainer(trial, directory=folder / "run").train().last_checkpoint
    assert sound is not None
    resumed = Trainer(trial, directory=folder / "another")
    files = ("model.safetensors", "trainer.pt", "config.yaml", "classes.json", "checksums.json")

    def run(number: int) -> None:
        random = random_of("checkpoint", number)
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


def sweep_folders(folder: Path) -> Run:
    unpack_example(examples()[-1], folder / "outputs")
    sweep = SweepFolder(folder / "outputs" / SWEEP)
    sound = {path: path.read_text() for path in sweep.path.rglob("*.json*") if "checkpoints" not in path.parts}
    sound |= {path: path.read_text() for path in sweep.path.glob("trials/*/config.yaml")}

    def run(number: int) -> None:
        random = random_of("sweep folder", number)
        for path, text in sound.items():
            path.write_text(text)
        path = random.choice(list(sound))
        if path.suffix == ".json":
            path.write_bytes(mutated_json(sound[path], random))
        elif path.suffix == ".jsonl":
            first, *rest = sound[path].splitlines() or [""]
            path.write_bytes(b"\n".join([mutated_json(first or "{}", random), *(line.encode() for line in rest), b""]))
        else:
            path.write_bytes(mutated(sound[path].encode(), random))
        comparison = load_comparison(sweep)
        answer(comparison)
        for form in (comparison_table, comparison_json, comparison_csv, comparison_latex, comparison_markdown):
            form([comparison])
        snapshot = SnapshotReader(sweep).read()
        assert snapshot is not None
        for one in (snapshot, snapshot.without_driver()):
            standing(one, concurrent=1)
        if number % _CASES_PER_PAGE == 0:
            page_text([comparison])

    return run


def archives(folder: Path) -> Run:
    files = {"a/b.txt": b"x" * 500, "a/c/d.bin": bytes(range(256)) * 4, "e": b""}
    sound = {"x.zip": zip_of(files), "x.tar": tar_of(files), "x.tar.gz": tar_of(files, gzipped=True)}
    root = folder / "root"

    def run(number: int) -> None:
        random = random_of("archive", number)
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

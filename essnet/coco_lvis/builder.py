"""The build: reads the annotation files, makes the masks that are not there yet, and says what it found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from essnet.atomic_files import write_atomically
from essnet.coco_lvis.annotations import AnnotationFile, option_of
from essnet.coco_lvis.class_list import ClassRow, classes_of, keep_classes
from essnet.coco_lvis.mask_facts import BadAnnotation
from essnet.coco_lvis.masks import MaskTask, make_masks
from essnet.coco_lvis.records import Journal, begin_build, write_build
from essnet.coco_lvis.results import UNKNOWN_IMAGE, BuildResult, SplitResult
from essnet.coco_lvis.selection import SelectedImage, Selection, mask_name, mask_tasks, select_images
from essnet.coco_lvis.verification import differing_masks
from essnet.config.errors import InputError
from essnet.file_lock import HeldByOther, hold
from essnet.progress import Progress
from essnet.workers import Workers

Item = TypeVar("Item")

_STUFF_OF_SPLIT = {"train": ("stuff_train",), "val": ("stuff_train", "stuff_val")}
_IMAGES_PER_TASK = 32


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build, and of what.

    Raises
    ------
    InputError
        If there is no LVIS file, a stuff file is missing, or a path is not there.
    """

    images: Path
    """Holds train2017/ and val2017/."""
    output: Path
    lvis: Mapping[str, Path]
    """The LVIS file of each split that is wanted."""
    stuff: Mapping[str, Path]
    """`stuff_train` and `stuff_val`, as far as the splits need them."""

    def __post_init__(self) -> None:
        if not self.lvis:
            raise InputError("--lvis-train, --lvis-val: give at least one of them; each is a split to build")
        if not self.images.is_dir():
            raise InputError(f"--images: {self.images} is no folder; expected the one that holds train2017/, val2017/")
        for split in self.lvis:
            for source in _STUFF_OF_SPLIT[split]:
                if source not in self.stuff:
                    why = "; LVIS val has images of COCO's train2017 and of val2017" if split == "val" else ""
                    raise InputError(f"{option_of(source)}: is missing; --lvis-{split} needs it{why}")
        for source, path in {**{f"lvis_{split}": path for split, path in self.lvis.items()}, **self.stuff}.items():
            if not path.exists():
                raise InputError(f"{option_of(source)}: {path}: no such file")


def build(request: BuildRequest, *, workers: int, verify: bool = False, progress: Progress) -> BuildResult:
    """Build the masks that are not there yet, with `workers` processes beside this one, and keep those that are.

    With `verify`, all masks are then painted once more, the plain way, and compared with their files.

    Raises
    ------
    InputError
        If a file is missing or wrong, the output was built from other files, or another build is at work there.
    """
    begin = time.monotonic()
    with Workers(workers, module="essnet.coco_lvis.verification") as processes:
        lvis = {split: _read(f"lvis_{split}", path, progress) for split, path in request.lvis.items()}
        stuff = {source: _read(source, path, progress) for source, path in request.stuff.items()}
        result = BuildResult(request.output, _classes(list(lvis.values()), list(stuff.values())))
        selections = {
            split: select_images(lvis=file, stuff=list(stuff.values()), images=request.images)
            for split, file in lvis.items()
        }
        request.output.mkdir(parents=True, exist_ok=True)
        with _held(request.output):
            record = begin_build(
                request.output, images=request.images.absolute(), files=[*lvis.values(), *stuff.values()]
            )
            keep_classes(request.output / "classes.json", result.classes)
            for split, selection in selections.items():
                work = _Split(split, selection, lvis[split], list(stuff.values()), request.output / "masks" / split)
                started = time.monotonic()
                result.splits[split] = work.build(processes, workers, progress)
                result.painting_seconds += time.monotonic() - started
                record.splits[split] = result.splits[split].counts()
                write_build(request.output, record)
                if verify:
                    result.splits[split].differing = work.differing(processes, progress)
    result.seconds = time.monotonic() - begin
    return result


class _Split:
    def __init__(
        self, name: str, selection: Selection, lvis: AnnotationFile, stuff: list[AnnotationFile], masks: Path
    ) -> None:
        self._name = name
        self._selection = selection
        self._lvis = lvis
        self._stuff = stuff
        self._masks = masks
        self._written = 0
        self._skipped = 0

    def build(self, processes: Workers, workers: int, progress: Progress) -> SplitResult:
        images = self._selection.images
        self._masks.mkdir(parents=True, exist_ok=True)
        for left_over in self._masks.glob(".*.partial"):  # of a build that was killed
            left_over.unlink(missing_ok=True)
        journal = Journal(self._masks / "masks.jsonl")
        journal.settle(image.row.id for image in images)
        per_task = max(1, min(_IMAGES_PER_TASK, len(images) // (4 * max(1, workers))))
        tasks = _in_lists(self._tasks(self._not_whole(journal, progress)), per_task)
        for facts in processes.map(make_masks, tasks):
            journal.add(facts)
            self._written += len(facts)
            progress(self._name, self._written + self._skipped, len(images))
        journal.settle(image.row.id for image in images)
        lines = "".join(f"{image.file}\n" for image in images)
        write_atomically(self._masks / "images.txt", lambda path: path.write_text(lines, encoding="utf-8"))
        return SplitResult(self._selection, self._written, self._skipped, journal.facts, self._bad(journal))

    def differing(self, processes: Workers, progress: Progress) -> list[str]:
        found: list[int] = []
        images = self._selection.images
        tasks = _in_lists(self._tasks(images), _IMAGES_PER_TASK)
        for number, wrong in enumerate(processes.map(differing_masks, tasks), start=1):
            found += wrong
            progress(f"verifying {self._name}", min(number * _IMAGES_PER_TASK, len(images)), len(images))
        return [str(self._masks / mask_name(image_id)) for image_id in sorted(found)]

    def _tasks(self, images: Iterable[SelectedImage]) -> Iterator[MaskTask]:
        return mask_tasks(images, lvis=self._lvis, stuff=self._stuff, masks=self._masks)

    def _not_whole(self, journal: Journal, progress: Progress) -> Iterator[SelectedImage]:
        for image in self._selection.images:
            if journal.is_whole(image.row.id, self._masks / mask_name(image.row.id)):
                self._skipped += 1
                progress(self._name, self._written + self._skipped, len(self._selection.images))
            else:
                yield image

    def _bad(self, journal: Journal) -> dict[str, dict[str, list[Any]]]:
        bad = [annotation for facts in journal.facts.values() for annotation in facts.bad]
        for file in (self._lvis, *self._stuff):
            bad += [BadAnnotation(file.source, annotation_id, UNKNOWN_IMAGE) for annotation_id in file.without_image()]
        found: dict[str, dict[str, list[Any]]] = {}
        for annotation in bad:
            found.setdefault(annotation.source, {}).setdefault(annotation.reason, []).append(annotation.annotation_id)
        return found


def _read(source: str, path: Path, progress: Progress) -> AnnotationFile:
    progress(f"reading {path.name} ({path.stat().st_size / 1e6:,.0f} MB)", 0, 0)
    return AnnotationFile(source, path)


def _classes(lvis: list[AnnotationFile], stuff: list[AnnotationFile]) -> list[ClassRow]:
    """Return the classes, after a look whether all files mean the same by an id."""
    classes = classes_of(lvis[0], stuff[0])
    for first, others in ((lvis[0], lvis[1:]), (stuff[0], stuff[1:])):
        for other in others:
            names = {key: row.name for key, row in first.categories.items()}
            differing = [key for key, row in other.categories.items() if names.get(key) != row.name]
            if differing:
                key = differing[0]
                raise InputError(
                    f"{other.path}: category {key} is {other.categories[key].name!r}, but {names.get(key)!r} in "
                    f"{first.path}; expected files of the same release"
                )
    return classes


def _in_lists(items: Iterable[Item], length: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while some := list(islice(iterator, length)):
        yield some


@contextmanager
def _held(output: Path) -> Iterator[None]:
    """Hold the folder for this build."""
    try:
        with hold(output / ".lock"):
            yield
    except HeldByOther as error:
        raise InputError(
            f"{output}: another build is at work there, process {error}; wait for it, or choose another --output"
        ) from None

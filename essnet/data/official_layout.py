"""Finding the files of a published data set: folders as they unpack, lists of names, partners by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from essnet.config.errors import InputError
from essnet.data.missing_files import Missing, refuse
from essnet.data.paired_files import FilePair
from essnet.data.text_files import read_text


@dataclass(frozen=True)
class FilesOf:
    """The files of one kind: `<folder>/<name><ending>`."""

    folder: Path
    ending: str

    def path(self, name: str) -> str:
        """Path of the file of `name`."""
        return os.path.join(self.folder, name + self.ending)

    def names(self) -> set[str]:
        """Names of the files that are there; hidden ones are passed over.

        Raises InputError if there is no such folder.
        """
        try:
            files = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.folder}: no such folder; expected files *{self.ending} there") from None
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be listed ({error.strerror})") from None
        return {file[: -len(self.ending)] for file in files if file.endswith(self.ending) and file[0] != "."}


def find_root(root: Path, *, below: Sequence[str], holds: Sequence[str]) -> Path:
    """The first of the folders `below` `root` that holds all the folders `holds`.

    Raises InputError that says what was looked for, and where.
    """
    *first, last = [f"{name}/" for name in holds]
    wanted = f"{', '.join(first)} and {last}"
    elsewhere = " or ".join(f"{folder}/" for folder in below if folder != ".")
    where = f", itself or in {elsewhere} below it" if elsewhere else ""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; data.root must hold {wanted}{where}")
    for folder in below:
        if all((root / folder / name).is_dir() for name in holds):
            return root / folder
    raise InputError(f"data.root: found {root}; it must hold {wanted}{where}")


def read_names(path: Path) -> list[str]:
    """The names in a list of images, one a line; folders, endings and further columns are left out.

    Raises InputError if there is no such list, it cannot be read, or it is empty.
    """
    lines = read_text(path, expected="a list of image names").splitlines()
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path}: is empty; expected a list of image names")
    return names


def pairs_of_names(
    names: Iterable[str], *, listed_in: Path, images: FilesOf, labels: FilesOf, missing: Missing = refuse
) -> list[FilePair]:
    """The pairs that a list names, in its order.

    `missing` is told of each file that is listed but not there; by default the first is an InputError.
    """
    names = list(names)
    whole = set(names)
    for files in (images, labels):
        there = files.names()
        missing([f"{files.path(name)}: not found, but {listed_in} lists it" for name in names if name not in there])
        whole &= there
    return [(images.path(name), labels.path(name)) for name in names if name in whole]


def pairs_of_folders(
    *, images: FilesOf, labels: FilesOf, passed_over: str | None = None, missing: Missing = refuse
) -> list[FilePair]:
    """The pairs of two folders, in order of the name; label names that end in `passed_over` do not count.

    `missing` is told of each file without partner; by default the first is an InputError. Raises InputError if
    there is no image.
    """
    of_images, of_labels = images.names(), labels.names()
    if passed_over is not None:
        of_labels = {name for name in of_labels if not name.endswith(passed_over)}
    if not of_images and not of_labels:
        raise InputError(f"{images.folder}: holds no image; expected files *{images.ending}")
    for files, partners, kind, alone in (
        (images, labels, "image without label", sorted(of_images - of_labels)),
        (labels, images, "label without image", sorted(of_labels - of_images)),
    ):
        missing([f"{files.path(name)}: {kind}; expected {partners.path(name)}" for name in alone])
    return [(images.path(name), labels.path(name)) for name in sorted(of_images & of_labels)]


def unlabelled_split(name: str, split: str, *, use: str, why: str) -> InputError:
    """The error for a split whose labels nobody has."""
    return InputError(f"{name}: split {split} has no labels ({why}); use {use}, as in evaluation.split={use}")

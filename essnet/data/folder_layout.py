"""The layout of a `folder` data set: which image belongs to which mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from essnet.config.errors import InputError
from essnet.data.image_files import IMAGE_SUFFIXES
from essnet.data.missing_files import Missing, refuse


@dataclass(frozen=True)
class Pair:
    """One image file and its mask file."""

    image: Path
    mask: Path


def list_pairs(root: Path, split: str, *, missing: Missing = refuse) -> list[Pair]:
    """The pairs `images/<split>/<stem>.<any>` and `masks/<split>/<stem>.png` in order of the stem.

    Hidden files and files that are no images are passed over. `missing` is told of each file without partner, of
    each image whose stem another has, and of each that is no plain file: to open a pipe would be to wait for ever. By
    default the first is an InputError. Raises InputError, naming it, if a folder is missing or empty.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; data.root must hold images/, masks/ and classes.txt")
    images = _by_stem(_split_folder(root / "images", split), IMAGE_SUFFIXES, missing)
    mask_folder = _split_folder(root / "masks", split)
    masks = _by_stem(mask_folder, (".png",), missing)
    if not images:
        raise InputError(
            f"{root / 'images' / split}: holds no image; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    not_plain = [path for path in (*images.values(), *masks.values()) if not path.is_file()]
    missing([f"{path}: is a pipe, a device or a link to nothing; expected a plain file" for path in not_plain])
    missing(
        [
            f"{images[stem]}: image without mask; {_expected_mask(mask_folder, stem)}"
            if stem in images
            else f"{masks[stem]}: mask without image; expected images/{split}/{stem} with one of the endings "
            f"{', '.join(IMAGE_SUFFIXES)}"
            for stem in sorted(images.keys() ^ masks.keys())
        ]
    )
    paired = (images.keys() & masks.keys()) - {path.stem for path in not_plain}
    return [Pair(images[stem], masks[stem]) for stem in sorted(paired)]


def _split_folder(parent: Path, split: str) -> Path:
    folder = parent / split
    if folder.is_dir():
        return folder
    if not parent.is_dir():
        raise InputError(f"{parent}: no such folder; expected {parent.name}/{split}/ in data.root")
    splits = sorted(entry.name for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    raise InputError(f"{folder}: no such folder; the splits in {parent} are: {', '.join(splits) or 'none'}")


def _by_stem(folder: Path, suffixes: tuple[str, ...], missing: Missing) -> dict[str, Path]:
    found: dict[str, Path] = {}
    twice = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes or path.is_dir():
            continue
        if path.stem in found:
            twice.append(f"{path}: has the same name as {found[path.stem].name} but for the ending; keep one")
        else:
            found[path.stem] = path
    missing(twice)
    return found


def _expected_mask(folder: Path, stem: str) -> str:
    others = sorted(path.name for path in folder.iterdir() if path.stem == stem)
    found = f", found {others[0]} (masks must be PNG)" if others else ""
    return f"expected {folder / stem}.png{found}"

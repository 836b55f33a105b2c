"""`folder`: anybody's own images and masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from essnet.config.errors import InputError
from essnet.data.class_table import read_class_table
from essnet.data.folder_layout import Pair, list_pairs
from essnet.data.folder_scan import scan_folder
from essnet.data.mask_labels import MaskLabels
from essnet.data.missing_files import Missing
from essnet.data.paired_files import FilePair, PairedFilesDataset
from essnet.progress import ItemProgress


def unscanned_folder(
    *, root: Path, split: str, ignore_value: int | None, reduce_zero_label: bool, missing: Missing
) -> PairedFilesDataset:
    """The files of a `folder` data set as they lie there: no mask has been looked at.

    `missing` is told of each file without partner. Raises InputError for anything else that is missing or wrong.
    """
    pairs = list_pairs(root, split, missing=missing)
    labels = _labels(root, ignore_value, reduce_zero_label)
    return PairedFilesDataset(files=_names(pairs), classes=labels.classes, labels=labels)


def _labels(root: Path, ignore_value: int | None, reduce_zero_label: bool) -> MaskLabels:
    classes = read_class_table(root / "classes.txt")
    return MaskLabels(classes=classes, ignore_value=ignore_value, reduce_zero_label=reduce_zero_label)


def _names(pairs: Iterable[Pair]) -> list[FilePair]:
    return [(str(pair.image), str(pair.mask)) for pair in pairs]


class FolderDataset(PairedFilesDataset):
    """Images and masks in folders: `images/<split>/`, `masks/<split>/` with the same stems, `classes.txt`.

    Images are jpg, jpeg, png, webp, bmp, tif or tiff of any mode and become upright RGB (alpha dropped);
    masks are integer PNGs of up to 16 bits, palette PNGs read as ids. Pixels with the raw id `ignore_value`
    are ignored; with `reduce_zero_label` so are those with id 0, and id i is class index i - 1.

    All masks are read once at the start (see `scan_folder`; `progress` gets files done and in all), and what was found
    is kept in `cache_dir`, so that this is paid once.
    Items: image uint8 (3, H, W) and mask int64 (H, W) with a class index or IGNORE_INDEX.
    Raises InputError, one line that names the file, for anything that is missing or wrong.
    """

    def __init__(
        self,
        *,
        root: Path,
        split: str,
        ignore_value: int | None = 255,
        reduce_zero_label: bool = False,
        cache_dir: Path | None = None,
        progress: ItemProgress | None = None,
    ) -> None:
        root = Path(root)
        pairs = list_pairs(root, split)
        labels = _labels(root, ignore_value, reduce_zero_label)
        class_pixels = scan_folder(
            root=root,
            split=split,
            pairs=pairs,
            labels=labels,
            cache_dir=cache_dir,
            progress=progress,
        )
        if not class_pixels.any():
            raise InputError(f"{root / 'masks' / split}: all pixels of all masks are ignored; nothing to learn from")
        super().__init__(files=_names(pairs), classes=labels.classes, labels=labels)

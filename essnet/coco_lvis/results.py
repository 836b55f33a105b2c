"""What became of a build: counts for people and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from essnet.coco_lvis.class_list import ClassRow
from essnet.coco_lvis.mask_facts import MaskFacts
from essnet.coco_lvis.selection import Selection

UNKNOWN_IMAGE = "unknown_image"
"""Why an annotation is bad whose image its file does not list."""


@dataclass
class SplitResult:
    """What became of a split."""

    selection: Selection
    written: int
    skipped: int
    """Masks that were there and whole."""
    facts: Mapping[int, MaskFacts]
    bad: Mapping[str, Mapping[str, list[Any]]]
    """Ids of bad annotations, by file and reason."""
    differing: list[str] | None = None
    """Masks that are not what their annotations say; None where nobody looked."""

    def counts(self) -> dict[str, Any]:
        """Return what does not depend on how often the build was interrupted."""
        masks = list(self.facts.values())
        return {
            "images": len(self.selection.images),
            "without_annotations": self.selection.without_annotations,
            "without_stuff_record": self.selection.without_stuff_record,
            "missing_images": self.selection.missing_images,
            "masks_without_label": sum(not mask.class_pixels for mask in masks),
            "classes_present": len({class_id for mask in masks for class_id in mask.class_pixels}),
            "annotations_painted": sum(mask.painted for mask in masks),
            "bad_annotations": self.bad,
        }


@dataclass
class BuildResult:
    """What became of a build."""

    output: Path
    classes: list[ClassRow]
    splits: dict[str, SplitResult] = field(default_factory=dict)
    seconds: float = 0.0
    painting_seconds: float = 0.0

    @property
    def differing(self) -> list[str]:
        """Masks that are not what their annotations say."""
        return [mask for split in self.splits.values() for mask in split.differing or ()]

    @property
    def images_per_second(self) -> float | None:
        """Masks written in a second; None where none was."""
        written = sum(split.written for split in self.splits.values())
        return written / self.painting_seconds if written else None

    def to_json(self) -> dict[str, Any]:
        """Return the result for scripts: sums over the splits, and each split's own."""
        splits = {
            name: {"written": split.written, "skipped": split.skipped, **split.counts()}
            for name, split in self.splits.items()
        }
        sums = [key for key, value in next(iter(splits.values())).items() if type(value) is int]
        masks = [facts for split in self.splits.values() for facts in split.facts.values()]
        return {
            "output": str(self.output),
            **{key: sum(split[key] for split in splits.values()) for key in sums},
            "classes_present": len({class_id for mask in masks for class_id in mask.class_pixels}),
            "bad_annotations": _united(split.bad for split in self.splits.values()),
            "seconds": round(self.seconds, 3),
            "images_per_second": self.images_per_second,
            "verified": sum(split.differing is not None and len(split.facts) for split in self.splits.values()),
            "differing": self.differing,
            "splits": splits,
        }


def _united(parts: Iterable[Mapping[str, Mapping[str, list[Any]]]]) -> dict[str, dict[str, list[Any]]]:
    """Unite what the splits found; both of them see the strays of a stuff file."""
    united: dict[str, dict[str, list[Any]]] = {}
    for part in parts:
        for source, reasons in part.items():
            for reason, ids in reasons.items():
                known = united.setdefault(source, {}).get(reason, [])
                united[source][reason] = ids if reason == UNKNOWN_IMAGE else [*known, *ids]
    return united

"""Annotation files in the layouts of LVIS v1 and COCO-Stuff, with overlaps of every kind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from essnet.coco_lvis.builder import BuildRequest
from tests.coco_lvis.oracle import Json, compressed_counts, plain_counts

SOURCES = ("lvis_train", "lvis_val", "stuff_train", "stuff_val")
STUFF_NAMES = {92: "banner", 93: "blanket", 98: "cabinet", 183: "other"}


def lvis_categories() -> list[Json]:
    return [
        {
            "id": number,
            "name": f"object_{number}",
            "synset": f"object.n.{number:02}",
            "frequency": "rcf"[number % 3],
            "synonyms": [f"object_{number}"],
            "def": "",
        }
        for number in range(1, 1204)
    ]


def stuff_categories() -> list[Json]:
    return [
        {"supercategory": "s", "id": number, "name": STUFF_NAMES.get(number, f"stuff-{number}")}
        for number in range(92, 184)
    ]


def image_row(image_id: int, *, height: int, width: int, folder: str) -> Json:
    url = f"http://images.cocodataset.org/{folder}/{image_id:012d}.jpg"
    return {"id": image_id, "height": height, "width": width, "coco_url": url, "license": 1}


@dataclass
class Sources:
    """The four annotation files, not yet written, and the ids of what is bad in them."""

    files: dict[str, Json] = field(
        default_factory=lambda: {
            source: {
                "info": {},
                "images": [],
                "annotations": [],
                "categories": lvis_categories() if source.startswith("lvis") else stuff_categories(),
            }
            for source in SOURCES
        }
    )

    def add_image(self, image_id: int, *, split: str, folder: str, height: int = 12, width: int = 16) -> Json:
        row = image_row(image_id, height=height, width=width, folder=folder)
        self.files[f"lvis_{split}"]["images"].append(row)
        self.files["stuff_" + folder.removesuffix("2017")]["images"].append(dict(row))
        return row

    def add(self, source: str, image_id: int, category_id: Any, segmentation: Any, **more: Any) -> int:
        rows = self.files[source]["annotations"]
        annotation_id = 1 + len(rows) + 10_000 * SOURCES.index(source)
        row = {"id": annotation_id, "image_id": image_id, "category_id": category_id, "segmentation": segmentation}
        rows.append({**row, "area": 1.0, "bbox": [0, 0, 1, 1], **more})
        return annotation_id

    def annotations(self, source: str, image_id: int) -> list[Json]:
        return [row for row in self.files[source]["annotations"] if row["image_id"] == image_id]

    def write(self, folder: Path) -> Path:
        """Write the files, and an image file for each image of the LVIS files; returns the folder."""
        for source, content in self.files.items():
            write_json(folder / f"{source}.json", content)
        for source in ("lvis_train", "lvis_val"):
            for row in self.files[source]["images"]:
                path = folder / "images" / "/".join(row["coco_url"].split("/")[-2:])
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (row["width"], row["height"]), (row["id"] % 251, 80, 160)).save(path)
        return folder


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def request(folder: Path, *, splits: tuple[str, ...] = ("train", "val"), output: str = "out") -> BuildRequest:
    return BuildRequest(
        images=folder / "images",
        output=folder / output,
        lvis={split: folder / f"lvis_{split}.json" for split in splits},
        stuff={source: folder / f"{source}.json" for source in ("stuff_train", "stuff_val")},
    )


def arguments(folder: Path, output: str = "out") -> list[str]:
    """The command line that builds both splits."""
    files = [part for source in SOURCES for part in ("--" + source.replace("_", "-"), str(folder / f"{source}.json"))]
    return ["data", "build-coco-lvis", "--images", str(folder / "images"), "--output", str(folder / output), *files]


def overlapping(seed: int = 0, *, num_images: int = 12, per_image: int = 6, size: int = 24) -> Sources:
    """Images of odd sizes in both splits, full of annotations of every kind that lie over each other."""
    rng = np.random.default_rng(seed)
    sources = Sources()
    for number in range(num_images):
        split = "train" if number % 2 else "val"
        folder = "val2017" if split == "val" and number % 4 == 0 else "train2017"
        height, width = (int(side) for side in rng.integers(1, size, 2))
        row = sources.add_image(9 + 7 * number, split=split, folder=folder, height=height, width=width)
        stuff = "stuff_" + folder.removesuffix("2017")
        # A few ids only, so that classes meet: those of both sources, one another's, and `other`.
        objects = rng.choice([50, 110, 181, 346, 350, 713, 804, 904, 1050, 1108, 1, 92, 183, 1203], per_image)
        regions = rng.choice([92, 93, 98, 108, 109, 137, 141, 153, 165, 168, 94, 182, 183], per_image)
        for source, categories in ((f"lvis_{split}", objects), (stuff, regions)):
            for category in categories:
                sources.add(source, row["id"], int(category), random_segmentation(rng, height, width))
    return sources


def random_segmentation(rng: np.random.Generator, height: int, width: int) -> Any:
    """Polygons that may stick out of the image, or runs, plain or compressed; never empty."""
    kind = rng.integers(3)
    if kind == 0:
        corner = np.array([-0.3 * width, -0.3 * height])
        extent = np.array([1.6 * width, 1.6 * height])
        outlines = [np.round(corner + extent * rng.random((int(rng.integers(3, 7)), 2)), 2) for _ in range(2)]
        whole = [-1.0, -1.0, width + 1.0, -1.0, width / 2, height + 1.0]  # so that something is covered
        return [*(outline.flatten().tolist() for outline in outlines), whole][int(rng.integers(3)) :]
    top, left = int(rng.integers(height)), int(rng.integers(width))
    covered = np.zeros((height, width), bool)
    covered[top : top + int(rng.integers(1, height + 1)), left : left + int(rng.integers(1, width + 1))] = True
    covered &= rng.random((height, width)) < rng.choice([0.5, 1.0])
    covered[top, left] = True
    counts = plain_counts(covered) if kind == 1 else compressed_counts(covered)
    return {"size": [height, width], "counts": counts}

"""What the builder writes, against an oracle written the plain way, and what it keeps and refuses."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from essnet.coco_lvis.builder import BuildRequest, build
from essnet.coco_lvis.results import BuildResult
from essnet.config.errors import InputError
from tests.coco_lvis.generated import SOURCES, Sources, overlapping, random_segmentation, request, write_json
from tests.coco_lvis.oracle import Json, compressed_counts, mask_of

SHARED_DATA = Path(os.environ.get("ESSNET_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
SQUARE = [[1, 1, 8, 1, 8, 8, 1, 8]]


def run(asked: BuildRequest, *, workers: int = 0, verify: bool = False) -> BuildResult:
    return build(asked, workers=workers, verify=verify, progress=lambda what, done, total: None)


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "I;16"
        return np.array(image)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def by_image(files: dict[str, Json], source: str) -> dict[int, list[Json]]:
    found: dict[int, list[Json]] = {}
    for row in files[source]["annotations"] if source in files else ():
        found.setdefault(row["image_id"], []).append(row)
    return found


def assert_masks_are_right(output: Path, files: dict[str, Json], splits: tuple[str, ...] = ("train", "val")) -> int:
    """Compare every mask of the splits with the oracle's; returns how many there are."""
    stuff = {key: by_image(files, key) for key in ("stuff_train", "stuff_val")}
    compared = 0
    for split in splits:
        lvis = by_image(files, f"lvis_{split}")
        for image in files[f"lvis_{split}"]["images"]:
            found = [*stuff["stuff_train"].get(image["id"], []), *stuff["stuff_val"].get(image["id"], [])]
            expected = mask_of(image, lvis=lvis.get(image["id"], []), stuff=found)
            mask = read_mask(output / "masks" / split / f"{image['id']:012d}.png")
            assert np.array_equal(mask, expected), f"{split} {image['id']}"
            compared += 1
    return compared


@pytest.mark.parametrize("seed", range(6))
def test_generated_masks_are_those_of_the_rules(tmp_path: Path, seed: int) -> None:
    sources = overlapping(seed, num_images=14, size=[24, 40, 3][seed % 3])
    result = run(request(sources.write(tmp_path)), verify=True)
    assert assert_masks_are_right(tmp_path / "out", sources.files) == 14
    assert result.differing == []
    assert sum(split.written for split in result.splits.values()) == 14


def test_masks_of_real_images_are_those_of_the_rules(tmp_path: Path) -> None:
    root = SHARED_DATA / "coco_lvis_mini"
    if not root.is_dir():
        pytest.skip(f"no {root}; set ESSNET_SHARED_DATA to the folder that holds coco_lvis_mini")
    names = {f"lvis_{split}": f"lvis_v1_{split}" for split in ("train", "val")}
    names |= {f"stuff_{split}": f"stuff_{split}2017" for split in ("train", "val")}
    paths = {source: root / "annotations" / f"{name}.json" for source, name in names.items()}
    asked = BuildRequest(
        images=root,
        output=tmp_path / "out",
        lvis={split: paths[f"lvis_{split}"] for split in ("train", "val")},
        stuff={source: paths[source] for source in ("stuff_train", "stuff_val")},
    )
    result = run(asked, workers=2).to_json()
    files = {source: json.loads(path.read_text()) for source, path in paths.items()}
    assert assert_masks_are_right(tmp_path / "out", files) == 200
    assert (result["written"], result["skipped"]) == (200, 0)
    assert result["annotations_painted"] == sum(
        1 for source in SOURCES for row in files[source]["annotations"] if row["image_id"] in selected(files, source)
    )
    assert result["bad_annotations"] == {}
    assert result["missing_images"] == result["without_annotations"] == 0
    masks = [read_mask(path) for path in (tmp_path / "out" / "masks").rglob("*.png")]
    assert result["classes_present"] == len(set(np.concatenate([np.unique(mask) for mask in masks])) - {0})


def selected(files: dict[str, Json], source: str) -> set[int]:
    """The images of both LVIS splits that a file has annotations for."""
    wanted = ("lvis_train", "lvis_val") if source.startswith("stuff") else (source,)
    return {image["id"] for name in wanted for image in files[name]["images"]}


def test_precedence_of_every_kind(tmp_path: Path) -> None:
    """One pixel for each overlap: LVIS before stuff, in a file the first; `other` hides stuff and is ignored."""
    sources = Sources()
    row = sources.add_image(9, split="train", folder="train2017", height=1, width=8)

    def pixels(*columns: int) -> Json:
        covered = np.isin(np.arange(8), columns)[None]
        return {"size": [1, 8], "counts": compressed_counts(covered)}

    for category, columns in ((350, (0, 1)), (110, (1, 2, 3)), (93, (4,))):
        sources.add("lvis_train", row["id"], category, pixels(*columns))
    for category, columns in ((93, (3, 4, 5)), (183, (5, 6)), (98, (6, 2)), (109, (0,))):
        sources.add("stuff_train", row["id"], category, pixels(*columns))
    run(request(sources.write(tmp_path), splits=("train",)))
    assert read_mask(tmp_path / "out/masks/train/000000000009.png").tolist() == [[350, 350, 110, 110, 93, 110, 0, 0]]


def test_what_is_written_is_what_the_layout_says(tmp_path: Path) -> None:
    sources = Sources()
    for image_id, folder in ((139, "val2017"), (25, "train2017")):
        sources.add_image(image_id, split="val", folder=folder)
        sources.add("lvis_val", image_id, 50, SQUARE)
    asked = request(sources.write(tmp_path))
    result = run(asked)
    out = tmp_path / "out"
    assert sorted(tree(out)) == [
        ".lock",
        "build.json",
        "classes.json",
        "masks/train/images.txt",
        "masks/train/masks.jsonl",
        "masks/val/000000000025.png",
        "masks/val/000000000139.png",
        "masks/val/images.txt",
        "masks/val/masks.jsonl",
    ]
    assert (out / "masks/val/images.txt").read_text() == "train2017/000000000025.jpg\nval2017/000000000139.jpg\n"
    assert (out / "masks/train/images.txt").read_text() == ""
    record = json.loads((out / "build.json").read_text())
    assert record["images"] == str(tmp_path / "images")
    assert record["splits"]["val"]["images"] == 2
    assert len(json.loads((out / "classes.json").read_text())) == 1284
    assert {"written", "skipped", "without_annotations", "missing_images", "classes_present"} <= result.to_json().keys()
    assert result.to_json()["classes_present"] == 1


def test_images_without_record_annotation_or_file_are_counted(tmp_path: Path) -> None:
    sources = Sources()
    for image_id in range(1, 7):
        sources.add_image(image_id, split="train", folder="train2017")
    sources.add("lvis_train", 1, 50, SQUARE)
    sources.add("stuff_train", 2, 183, SQUARE)  # `other` is an annotation, and the mask has no label
    sources.add("lvis_train", 4, 50, SQUARE)
    sources.add("lvis_train", 5, 50, SQUARE)
    images = sources.files["stuff_train"]["images"]
    sources.files["stuff_train"]["images"] = [row for row in images if row["id"] not in (5, 6)]
    asked = request(sources.write(tmp_path), splits=("train",))
    (tmp_path / "images/train2017/000000000004.jpg").unlink()
    result = run(asked).to_json()
    counts = ("written", "without_annotations", "without_stuff_record", "missing_images", "masks_without_label")
    assert {key: result[key] for key in counts} == dict(zip(counts, (2, 1, 2, 1, 1), strict=True))
    listed = (tmp_path / "out/masks/train/images.txt").read_text()
    assert listed == "train2017/000000000001.jpg\ntrain2017/000000000002.jpg\n"

    (tmp_path / "images/train2017/000000000004.jpg").write_bytes(b"")
    result = run(asked).to_json()
    assert (result["written"], result["skipped"], result["missing_images"]) == (1, 2, 0)
    assert (tmp_path / "out/masks/train/images.txt").read_text().count("\n") == 3


def test_bad_annotations_are_named_and_do_not_count(tmp_path: Path) -> None:
    sources = Sources()
    row = sources.add_image(9, split="train", folder="train2017")
    other = sources.add_image(10, split="train", folder="train2017")
    good = [sources.add("lvis_train", 9, 350, SQUARE)]
    bad = {
        "empty": [[], [[]], None, {"size": [12, 16], "counts": [192]}],
        "under_three_points": [[[1, 1, 5, 5]], [[2, 2]]],
        "outside_image": [[[20, 20, 30, 20, 30, 30]]],
        "wrong_size": [{"size": [16, 12], "counts": [0, 192]}],
        "wrong_counts": [{"size": [12, 16], "counts": "no runs"}, {"size": [12, 16], "counts": [0, 193]}],
        "not_a_segmentation": ["text", [[1, 2, 3, 4, 5, 6, 7]]],
    }
    expected: dict[str, dict[str, list[int]]] = {"lvis_train": {}, "stuff_train": {}}
    for source, category in (("lvis_train", 50), ("stuff_train", 94)):
        for reason, segmentations in bad.items():
            ids = [sources.add(source, 9, category, segmentation) for segmentation in segmentations]
            expected[source][reason] = ids
        unknown = (0, 1204, "50", None, 50.0, True) if source == "lvis_train" else (50, 91, 184, "94", None)
        expected[source]["unknown_category"] = [sources.add(source, 9, wrong, SQUARE) for wrong in unknown]
        expected[source]["unknown_image"] = [sources.add(source, wrong, category, SQUARE) for wrong in (77, None)]
    good.append(sources.add("stuff_train", 9, 94, [[0, 0, 16, 0, 16, 12, 0, 12]]))
    sources.files["lvis_train"]["annotations"] += [{"image_id": 10}, {"id": "x", "image_id": 10, "category_id": 50}]
    expected["lvis_train"]["unknown_category"].append(None)
    expected["lvis_train"]["empty"].append("x")

    result = run(request(sources.write(tmp_path), splits=("train",)), verify=True)
    summary = result.to_json()
    assert summary["bad_annotations"] == expected
    assert summary["annotations_painted"] == len(good)
    assert (summary["written"], summary["masks_without_label"]) == (2, 1)
    assert json.loads((tmp_path / "out/build.json").read_text())["splits"]["train"]["bad_annotations"] == expected
    for image in (row, other):
        lvis, stuff = (
            [a for a in sources.annotations(source, image["id"]) if a.get("id") in good] for source in expected
        )
        mask = mask_of(image, lvis=lvis, stuff=stuff)
        assert np.array_equal(read_mask(tmp_path / "out/masks/train" / f"{image['id']:012d}.png"), mask)
    assert set(np.unique(read_mask(tmp_path / "out/masks/train/000000000009.png"))) == {350, 1204}


def test_a_second_build_keeps_everything(tmp_path: Path) -> None:
    asked = request(overlapping(1).write(tmp_path))
    first = run(asked).to_json()
    before = tree(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/masks").rglob("*.png")}
    second = run(asked).to_json()
    assert (second["written"], second["skipped"]) == (0, first["written"])
    assert tree(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for result in (first, second):
        for key in ("seconds", "images_per_second", "written", "skipped", "splits"):
            result.pop(key)
    assert first == second


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def other_labels(path: Path) -> None:
    Image.fromarray(np.full_like(read_mask(path), 3)).save(path)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "truncated": truncate,
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "flipped bit": flip_a_bit,
    "other labels": other_labels,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_mask_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    asked = request(overlapping(2, size=60).write(tmp_path))
    run(asked)
    before = tree(tmp_path / "out")
    DAMAGE[damage](sorted((tmp_path / "out/masks/train").glob("*.png"))[1])
    assert tree(tmp_path / "out") != before
    result = run(asked).to_json()
    assert (result["written"], result["skipped"]) == (1, 11)
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("keep", [0, 100, 1000])
def test_what_the_journal_does_not_know_is_made_again(tmp_path: Path, keep: int) -> None:
    asked = request(overlapping(2).write(tmp_path))
    run(asked)
    before = tree(tmp_path / "out")
    journal = tmp_path / "out/masks/train/masks.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[:keep])  # in the middle of a line
    (tmp_path / "out/masks/train/.000000000016.png.123.partial").write_bytes(b"half a mask")
    written = run(asked).to_json()["written"]
    assert written == content.count(b"\n") - content[:keep].count(b"\n")
    assert tree(tmp_path / "out") == before


def test_verification_finds_what_checksums_do_not(tmp_path: Path) -> None:
    asked = request(overlapping(3, size=60).write(tmp_path))
    run(asked)
    assert run(asked, verify=True).to_json()["verified"] == 12
    path = sorted((tmp_path / "out/masks/val").glob("*.png"))[2]
    mask = read_mask(path)
    mask[0, 0] = 1 + mask[0, 0]
    Image.fromarray(mask).save(path)
    journal = tmp_path / "out/masks/val/masks.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    rows[2].update(size=path.stat().st_size, crc32=zlib.crc32(path.read_bytes()))
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run(asked, verify=True)
    assert result.to_json()["written"] == 0
    assert result.differing == [str(path)]


def test_splits_may_be_built_one_after_the_other(tmp_path: Path) -> None:
    folder = overlapping(4).write(tmp_path)
    run(request(folder, output="at once"))
    run(request(folder, splits=("val",)))
    run(request(folder, splits=("train",)))
    one, other = tree(tmp_path / "at once"), tree(tmp_path / "out")
    assert one.pop("build.json") != b""
    splits = json.loads(other.pop("build.json"))["splits"]
    assert one == other
    assert splits == json.loads((tmp_path / "at once/build.json").read_text())["splits"]


def test_the_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    folder = overlapping(5, num_images=40).write(tmp_path)
    run(request(folder, output="none"))
    run(request(folder, output="two"), workers=2)
    assert tree(tmp_path / "none") == tree(tmp_path / "two")


def change_json(path: Path, change: Callable[[Json], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


@pytest.mark.parametrize("source", SOURCES)
def test_another_annotation_file_is_not_mixed_with_what_is_there(tmp_path: Path, source: str) -> None:
    asked = request(overlapping(6).write(tmp_path))
    run(asked)
    before = tree(tmp_path / "out")
    change_json(tmp_path / f"{source}.json", lambda content: content["annotations"].pop())
    option = "--" + source.replace("_", "-")
    with pytest.raises(InputError, match=f"out: was built from another {option} .*; choose another --output, or") as e:
        run(asked)
    assert "\n" not in str(e.value)
    assert tree(tmp_path / "out") == before


def moved(url: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        change_json(folder / "lvis_train.json", lambda content: content["images"][0].update(coco_url=url))

    return change


def stuff_of_val_is_not_given(asked: BuildRequest) -> BuildRequest:
    return BuildRequest(
        images=asked.images,
        output=asked.output,
        lvis={"train": asked.lvis["train"]},
        stuff={"stuff_train": asked.stuff["stuff_train"]},
    )


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "traversal": (moved("http://images.cocodataset.org/../../000000000016.jpg"), "image 16 has coco_url"),
    "traversal in the folder": (moved("http://h/../000000000016.jpg"), "image 16 has coco_url"),
    "backslashes": (moved("http://h/..\\..\\x/000000000016.jpg"), "image 16 has coco_url"),
    "encoded": (moved("http://h/%2e%2e/000000000016.jpg"), "image 16 has coco_url"),
    "absolute": (moved("/etc/train2017/000000000016.jpg"), "image 16 has coco_url"),
    "another image": (moved("http://h/train2017/000000000017.jpg"), r"expected one .* 000000000016.jpg"),
    "another ending": (moved("http://h/train2017/000000000016.jpg.exe"), "image 16 has coco_url"),
    "no address": (moved(""), "image 16 has coco_url ''; expected one that ends in"),
    "a broken address": (moved("http://[h/train2017/000000000016.jpg"), "image 16 has coco_url"),
    "no images": (
        lambda folder: [path.unlink() for path in (folder / "images").rglob("*.jpg")],
        r"--images: .* has none of the \d+ images of lvis_train.json; expected train2017/000000000016.jpg in it",
    ),
    "other names": (
        lambda folder: change_json(folder / "lvis_val.json", lambda content: content["categories"][4].update(name="x")),
        r"lvis_val.json: category 5 is 'x', but 'object_5' in .*lvis_train.json",
    ),
    "foreign masks": (
        lambda folder: (folder / "out/masks").mkdir(parents=True),
        "out: has masks/ but no build.json",
    ),
    "damaged record": (
        lambda folder: write_json(folder / "out/build.json", [1]),
        r"build.json: damaged .*; delete .*out and build it again",
    ),
    "another format": (
        lambda folder: write_json(folder / "out/build.json", {"format": 0, "images": "x", "inputs": {}}),
        "build.json: is of format 0, this version writes 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_built_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    damage, message = REFUSED[name]
    folder = overlapping(7).write(tmp_path)
    damage(folder)
    before = tree(folder)
    with pytest.raises(InputError, match=message) as caught:
        run(request(folder))
    assert "\n" not in str(caught.value)
    after = tree(folder)
    after.pop("out/.lock", None)
    assert after == before


def test_a_train_split_with_images_of_val2017_needs_their_stuff_too(tmp_path: Path) -> None:
    sources = overlapping(8)
    sources.add_image(500, split="train", folder="val2017")
    asked = request(sources.write(tmp_path))
    message = r"--stuff-val: is missing; 1 of the 7 images of --lvis-train lie in val2017/"
    with pytest.raises(InputError, match=message):
        run(stuff_of_val_is_not_given(asked))


def test_other_classes_are_not_mixed_with_what_is_there(tmp_path: Path) -> None:
    folder = overlapping(9).write(tmp_path)
    run(request(folder, splits=("train",)))
    change_json(folder / "lvis_val.json", lambda content: content["categories"][4].update(name="x"))
    with pytest.raises(InputError, match=r"classes.json: class 5 is 'object_5', but 'x' in the annotation files"):
        run(request(folder, splits=("val",)))


def test_two_builds_do_not_work_in_one_folder(tmp_path: Path) -> None:
    asked = request(overlapping(9).write(tmp_path))
    seen = []

    def try_another(what: str, done: int, total: int) -> None:
        if total and not seen:
            with pytest.raises(InputError, match="another build is at work there") as caught:
                run(asked)
            seen.append(str(caught.value))

    build(asked, workers=0, progress=try_another)
    assert len(seen) == 1
    run(asked)


def test_progress_ends_where_it_goes_to(tmp_path: Path) -> None:
    told: Counter[str] = Counter()
    asked = request(overlapping(1).write(tmp_path))

    def tell(what: str, done: int, total: int) -> None:
        assert done <= total
        assert done >= told[what]
        told[what] = done

    for _ in range(2):
        build(asked, workers=0, verify=True, progress=tell)
        assert (told["train"], told["val"], told["verifying train"], told["verifying val"]) == (6, 6, 6, 6)
        told.clear()


def test_random_segmentations_are_not_all_alike() -> None:
    kinds = Counter(
        type(found).__name__ if isinstance(found, list) else type(found["counts"]).__name__
        for found in (random_segmentation(np.random.default_rng(seed), 9, 9) for seed in range(60))
    )
    assert kinds["list"] >= 15  # polygons, and plain runs
    assert kinds["str"] >= 5

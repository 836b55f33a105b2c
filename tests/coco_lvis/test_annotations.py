"""Annotation files: what is read of them, and what is wrong with a file that is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from essnet.coco_lvis.annotations import AnnotationFile
from essnet.coco_lvis.class_list import ClassRow, classes_of, keep_classes, read_classes
from essnet.config.errors import InputError
from tests.coco_lvis.generated import Sources, write_json
from tests.coco_lvis.oracle import Json

SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]


def sources() -> Sources:
    made = Sources()
    made.add_image(9, split="train", folder="train2017")
    made.add_image(7, split="train", folder="train2017")
    for image_id in (7, 9, 7, 12, 9, 7):
        made.add("lvis_train", image_id, 50, SQUARE)
    made.add("stuff_train", 9, 92, SQUARE)
    return made


def read(folder: Path, content: Json | bytes, source: str = "lvis_train") -> AnnotationFile:
    path = folder / f"{source}.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_json(path, content)
    return AnnotationFile(source, path)


def test_annotations_of_an_image_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = read(tmp_path, sources().files["lvis_train"])
    assert [row.id for row in file.of_image(7)] == [1, 3, 6]
    assert [row.id for row in file.of_image(9)] == [2, 5]
    assert file.of_image(8) == []
    assert (file.has_annotations(7), file.has_annotations(8)) == (True, False)
    assert json.loads(bytes(file.of_image(9)[0].segmentation)) == SQUARE
    assert list(file.images) == [9, 7]
    assert (file.images[9].height, file.images[9].width) == (12, 16)
    assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()


def test_annotations_of_images_that_are_not_listed_are_told(tmp_path: Path) -> None:
    made = sources()
    for image_id in (None, "9", 9.5, True, -1, 10**30, [9]):
        made.add("lvis_train", image_id, 50, SQUARE)
    file = read(tmp_path, made.files["lvis_train"])
    assert file.without_image() == [4, *range(7, 14)]
    assert [row.id for row in file.of_image(9)] == [2, 5]


def test_rows_without_anything_do_not_spoil_a_file(tmp_path: Path) -> None:
    content = sources().files["lvis_train"]
    content["annotations"] += [{}, {"id": None, "image_id": 9}, {"id": "x", "image_id": 9, "segmentation": None}]
    file = read(tmp_path, content)
    assert [row.id for row in file.of_image(9)] == [2, 5, None, "x"]
    assert file.without_image() == [4, None]


def test_keys_in_any_order_and_further_ones_are_read(tmp_path: Path) -> None:
    content = sources().files["lvis_train"]
    turned = {key: content[key] for key in reversed(content)}
    turned["annotations"] = [dict(reversed(row.items())) for row in turned["annotations"]]
    text = json.dumps(turned, indent=1).replace('"info": {}', '"info": {"a": [1, {"annotations": []}]}, "more": "[{"')
    assert [row.id for row in read(tmp_path, text.encode()).of_image(7)] == [1, 3, 6]


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def without(key: str) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({k: v for k, v in json.loads(content).items() if k != key}).encode()


def with_image(**changes: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        rows = json.loads(content)
        rows["images"][1].update(changes)
        return json.dumps(rows).encode()

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "is empty; expected JSON"),
        (cut(0.999), r"is cut off \(.*\); get the file again"),
        (cut(0.5), r"is cut off"),
        (lambda content: content.replace(b'"annotations"', b"'annotations'"), r"is no JSON \(.*\); get the file again"),
        (lambda content: content + b"}", r"is no JSON"),
        (lambda _: b"<html>not found</html>", r"is no JSON"),
        (lambda _: b"PK\x03\x04", r"is no JSON"),
        (lambda _: b"[]", r"has another layout than LVIS v1 and COCO: Expected `object`"),
        (lambda _: b"3", r"has another layout"),
        (without("annotations"), r"another layout .* missing required field `annotations`"),
        (without("images"), r"missing required field `images`"),
        (without("categories"), r"missing required field `categories`"),
        (lambda content: content.replace(b'"annotations": [', b'"annotations": [7, '), r"\$.annotations\[0\]"),
        (with_image(id="9"), r"Expected `int`, got `str` - at `\$.images\[1\].id`"),
        (with_image(id=-3), r"\$.images\[1\].id"),
        (with_image(id=10**12), r"\$.images\[1\].id"),
        (with_image(height=0), r"\$.images\[1\].height"),
        (with_image(width=3.5), r"\$.images\[1\].width"),
        (with_image(width=10**9), r"\$.images\[1\].width"),
        (with_image(width=60_000, height=60_000), r"image 7 has 60000x60000 pixels; too many"),
        (with_image(coco_url=None), r"\$.images\[1\].coco_url"),
        (with_image(id=9), r"lists image 9 twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    content = damage(json.dumps(sources().files["lvis_train"]).encode())
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"--lvis-train: {tmp_path / 'lvis_train.json'}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.json: no such file"):
        AnnotationFile("stuff_val", tmp_path / "gone.json")
    with pytest.raises(InputError, match=r"--stuff-val: .* is a folder; expected a JSON file"):
        AnnotationFile("stuff_val", tmp_path)


def categories_without(number: int) -> Callable[[list[Json]], list[Json]]:
    return lambda rows: [row for row in rows if row["id"] != number]


def test_the_classes_have_names_and_where_they_come_from(tmp_path: Path) -> None:
    made = sources()
    lvis, stuff = (read(tmp_path, made.files[name], name) for name in ("lvis_train", "stuff_train"))
    rows = classes_of(lvis, stuff)
    assert [row.id for row in rows] == list(range(1, 1285))
    assert (rows[0].name, rows[0].source, rows[0].frequency, rows[0].synset) == (
        "object_1",
        "lvis",
        "c",
        "object.n.01",
    )
    assert (rows[109].name, rows[109].source, rows[109].stuff_id) == ("object_110", "lvis", 93)
    assert (rows[1203].name, rows[1203].source, rows[1203].frequency, rows[1203].stuff_id) == (
        "stuff-94",
        "stuff",
        None,
        94,
    )
    assert rows[1283].stuff_id == 182
    assert len([row for row in rows if row.stuff_id is not None]) == 91
    keep_classes(tmp_path / "classes.json", rows)
    assert read_classes(tmp_path / "classes.json") == rows
    assert json.loads((tmp_path / "classes.json").read_text())[1203]["name"] == "stuff-94"
    keep_classes(tmp_path / "classes.json", rows)


@pytest.mark.parametrize(("before", "now"), [(3, 4), (4, 3)])
def test_a_longer_list_of_classes_is_another_one(tmp_path: Path, before: int, now: int) -> None:
    rows = [ClassRow(number, f"class {number}", "lvis", "c", None, None) for number in range(1, 5)]
    path = tmp_path / "classes.json"
    keep_classes(path, rows[:before])
    kept = path.read_bytes()
    with pytest.raises(InputError, match=f"json: has {before} classes, but the annotation files have {now}; choose"):
        keep_classes(path, rows[:now])
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        ("lvis_train", categories_without(1203), r"has 1202 categories, without id 1203; expected LVIS v1's"),
        (
            "lvis_train",
            lambda rows: [*rows, {**rows[0], "id": 1230}],
            r"has 1204 categories; expected LVIS v1's 1203",
        ),
        ("lvis_train", lambda rows: [{**row, "frequency": None} for row in rows], r"has frequency None; expected"),
        ("lvis_train", lambda rows: [*rows, rows[4]], r"lists category 5 twice"),
        ("stuff_train", categories_without(182), r"without id 182; expected COCO-Stuff's ids 92 to 182"),
        ("stuff_train", lambda _: [], r"has 0 categories, without id 92"),
    ],
)
def test_files_with_other_categories_are_refused(
    tmp_path: Path, source: str, change: Callable[[list[Json]], list[Json]], message: str
) -> None:
    made = sources()
    made.files[source]["categories"] = change(made.files[source]["categories"])
    with pytest.raises(InputError, match=message) as caught:
        classes_of(*(read(tmp_path, made.files[name], name) for name in ("lvis_train", "stuff_train")))
    assert f"{source}.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found; build the data set with `launch.py data build-coco-lvis`"),
        ("[", "damaged"),
        ('[{"id": 1}]', "damaged"),
        ('[{"id": 2, "name": "a", "source": "lvis", "frequency": null, "synset": null, "stuff_id": null}]', "damaged"),
    ],
)
def test_a_damaged_list_of_classes_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "classes.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_classes(path)

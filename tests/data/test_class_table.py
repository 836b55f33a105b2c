from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from essnet.config.errors import InputError
from essnet.data.class_table import ClassTable, class_colours, read_class_table


def test_json_round_trip() -> None:
    table = ClassTable(("road", "sky"))
    rows = table.to_json()
    assert rows == [{"id": 0, "name": "road"}, {"id": 1, "name": "sky"}]
    assert ClassTable.from_json(json.loads(json.dumps(rows))) == table
    assert table.num_classes == 2


@pytest.mark.parametrize(
    "rows", [[{"id": 1, "name": "a"}], [{"id": 0}], [{"name": "a"}], ["a"], [{"id": 0, "name": 3}]]
)
def test_json_of_another_shape_is_refused(rows: list) -> None:
    with pytest.raises(ValueError, match="row 0"):
        ClassTable.from_json(rows)


def test_added_classes_are_marked_and_read_again() -> None:
    table = ClassTable(("road", "sky", "pond"), first_added=1)
    rows = table.to_json()
    assert [row.get("added") for row in rows] == [None, True, True]
    assert ClassTable.from_json(json.loads(json.dumps(rows))) == table
    assert table.added == range(1, 3)
    assert ClassTable(("road", "sky")).added == range(2, 2)
    with pytest.raises(ValueError, match="row 2 is not added"):
        ClassTable.from_json([*rows[:2], {"id": 2, "name": "pond"}])


def test_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ClassTable(())


@pytest.mark.parametrize(
    "content",
    [
        b"road\nsky\n",
        b"road\nsky",
        b"road\r\nsky\r\n",
        b"\xef\xbb\xbfroad\nsky\n\n \n",
        b"road \n sky\r\n\r\n",
    ],
)
def test_class_file_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    assert read_class_table(path).names == ("road", "sky")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no class name"),
        (b"\n\r\n", "holds no class name"),
        (b"road\n\nsky\n", "line 2 is empty"),
        (b"\nroad\n", "line 1 is empty"),
        (b"road\nsky\nroad\n", "line 3 repeats 'road' of line 1"),
        (b"\xff\xfe\x00a", "not UTF-8"),
        (None, "not found"),
    ],
)
def test_bad_class_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "classes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_class_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_classes", [0, 1, 19, 512, 513, 1284, 100_000])
def test_colours_are_all_different(num_classes: int) -> None:
    colours = class_colours(num_classes)
    assert colours.shape == (num_classes, 3)
    assert colours.dtype == np.uint8
    assert len(np.unique(colours, axis=0)) >= 0.999 * num_classes
    assert num_classes == 0 or colours.max(axis=1).min() > 60, "none near black, the colour of ignored pixels"


def test_colours_of_few_classes_are_far_apart() -> None:
    colours = class_colours(21).astype(float)
    distance = np.linalg.norm(colours[:, None] - colours, axis=-1) + 1e3 * np.eye(21)
    assert distance.min() > 60


def test_colours_do_not_change_when_classes_are_added() -> None:
    assert (class_colours(700)[:20] == class_colours(20)).all()


def test_colours_may_be_changed_by_the_caller() -> None:
    class_colours(3)[:] = 0
    assert class_colours(3).any()

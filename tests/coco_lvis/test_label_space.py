from __future__ import annotations

from essnet.coco_lvis.label_space import LVIS_CLASSES, NUM_CLASSES, STUFF_CLASSES
from tests.coco_lvis.oracle import SHARED, class_of_stuff


def test_every_stuff_id_has_the_class_of_the_rules() -> None:
    assert STUFF_CLASSES == {stuff: class_of_stuff(stuff) for stuff in range(92, 184)}
    assert {stuff: STUFF_CLASSES[stuff] for stuff in SHARED} == SHARED
    assert [STUFF_CLASSES[stuff] for stuff in (94, 99, 110, 181, 182, 183)] == [1204, 1208, 1217, 1283, 1284, 0]


def test_the_classes_are_1_to_1284_and_ten_are_shared() -> None:
    assert {category: category for category in range(1, 1204)} == LVIS_CLASSES
    assert {*LVIS_CLASSES.values(), *STUFF_CLASSES.values()} == set(range(NUM_CLASSES + 1))
    assert len({*LVIS_CLASSES.values()} & {*STUFF_CLASSES.values()}) == 10

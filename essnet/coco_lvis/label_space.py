"""The label space: LVIS v1's 1,203 categories and the 91 classes of COCO stuff make 1,284 classes."""

from __future__ import annotations

from collections.abc import Mapping

IGNORED = 0
"""What a mask holds where there is no class."""

NUM_LVIS = 1203
NUM_CLASSES = 1284

STUFF_IDS = range(92, 183)
OTHER_STUFF = 183
"""COCO-Stuff's `other`, which covers what is not stuff: ignored."""

SAME_AS_LVIS: Mapping[int, int] = {
    92: 50,  # banner
    93: 110,  # blanket
    98: 181,  # cabinet
    108: 346,  # cupboard
    109: 350,  # curtain
    137: 713,  # napkin
    141: 804,  # pillow
    153: 904,  # salad
    165: 1050,  # table
    168: 1108,  # towel
}
"""Stuff ids that are the same concept as an LVIS category, and its id."""


def _classes_of_stuff() -> dict[int, int]:
    further = iter(range(NUM_LVIS + 1, NUM_CLASSES + 1))
    classes = {stuff: SAME_AS_LVIS[stuff] if stuff in SAME_AS_LVIS else next(further) for stuff in STUFF_IDS}
    return {**classes, OTHER_STUFF: IGNORED}


LVIS_CLASSES: Mapping[int, int] = {category: category for category in range(1, NUM_LVIS + 1)}
"""Class id of each LVIS category."""

STUFF_CLASSES: Mapping[int, int] = _classes_of_stuff()
"""Class id of each stuff id. It is looked up once: 93 is class 110, and that has nothing to do with stuff id 110."""

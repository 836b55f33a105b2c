"""Formats that are known, and those that are not."""

from __future__ import annotations

import pytest

from essnet import __version__
from essnet.config import InputError
from essnet.format_version import refuse_newer


def test_known_formats_pass() -> None:
    for found in (1, 2, 3):
        refuse_newer("a.json", found, known=3, written_by="9.8.7")


@pytest.mark.parametrize(("written_by", "needed"), [("9.8.7", "essnet 9.8.7 or newer"), (None, "a newer essnet")])
def test_a_newer_one_is_refused_with_the_version_that_is_needed(written_by: str | None, needed: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_newer("a.json", 4, known=3, written_by=written_by)
    assert str(caught.value) == (
        f"a.json: has format 4, and essnet {__version__}, which is here, knows formats up to 3; it needs {needed}"
    )


@pytest.mark.parametrize("found", [0, -1, True, 1.5, "1", None, [1], "x" * 1000])
def test_what_is_no_format_is_damage(found: object) -> None:
    with pytest.raises(InputError, match=r"^a.json: damaged; its format is .{1,80}, expected a whole number from 1$"):
        refuse_newer("a.json", found, known=3, written_by=None)

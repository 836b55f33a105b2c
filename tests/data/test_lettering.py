from __future__ import annotations

import pytest

from essnet.data.lettering import lettering


@pytest.mark.parametrize("text", ["Küche", "Straße", "Łódź", "çğış", "Ελλάδα", "дорога", "cat_1 (2).jpg"])
def test_every_letter_is_there(text: str) -> None:
    font = lettering(15)
    nothing = bytes(font.getmask("\uffff"))
    assert nothing
    assert [letter for letter in text if not letter.isspace() and bytes(font.getmask(letter)) == nothing] == []

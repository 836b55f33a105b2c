"""The picture of the house is that of the house as it is."""

from __future__ import annotations

from xml.etree import ElementTree

from docs.images.architecture import PICTURE, ROOT, layers, picture, purpose


def test_the_picture_is_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run: python -m docs.images.architecture"


def test_it_has_every_package_once_and_all_its_words() -> None:
    packages = {path.parent.name for path in (ROOT / "essnet").glob("*/__init__.py")}
    named = [module for layer in layers() for module in layer]
    assert packages <= set(named)
    assert len(set(named)) == len(named)
    text = " ".join("".join(one.itertext()) for one in ElementTree.parse(PICTURE).iter() if one.text)
    words = text.replace("\n", " ").split()
    for module in packages:
        assert set(purpose(module).rstrip(".").split()) <= set(words), module

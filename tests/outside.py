"""A package outside essnet with one of each extension: the files that docs/extending.md shows, here and installed."""

from __future__ import annotations

from pathlib import Path

from tests.docs.documented import ROOT, blocks

PAGE = ROOT / "docs" / "extending.md"
DISCS, FOCAL, SPEED = "mypkg.discs:Discs", "mypkg.focal:FocalOutput", "mypkg.speed:SPEED"


def write_package(folder: Path, name: str = "mypkg") -> Path:
    """Write the page's files, `# mypkg/FILE.py` first, as a package of a folder, which is returned."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    for block in blocks(PAGE):
        if block.language == "python":
            first, _, _ = block.text.partition("\n")
            file = first.removeprefix("# mypkg/")
            assert file != first, block.where
            (folder / name / file).write_text(block.text)
    return folder


def install_package(site: Path) -> Path:
    """Write the same as a package `offered` with the page's entry points into a folder for Python's path."""
    write_package(site, "offered")
    (text,) = (block.text for block in blocks(PAGE) if "entry-points" in block.text)
    lines = [line.replace('"', "").replace("project.entry-points.", "") for line in text.splitlines()]
    information = site / "offered-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join(lines).replace("mypkg.", "offered.") + "\n")
    return site

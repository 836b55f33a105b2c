"""What a build knows of itself, so that a later one keeps what is right and mixes nothing: two kinds of files.

`build.json` says of which annotation files the folder is made. `masks.jsonl` has a line for each mask: lines are
added as masks appear, and put in order when a split is done, so that nothing tells how often a build was killed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from essnet.atomic_files import write_atomically, write_json
from essnet.coco_lvis.annotations import option_of
from essnet.coco_lvis.mask_facts import MaskFacts
from essnet.config.errors import InputError

FORMAT = 1
"""Changes with the rules by which masks are painted, and with the layout of the folder."""


class BuildRecord(msgspec.Struct):
    """The content of `build.json`."""

    format: int
    images: str
    """The folder of images, absolute."""
    inputs: dict[str, str]
    """SHA-256 of each annotation file that went in, by its name in the options (`lvis_train`)."""
    splits: dict[str, dict[str, Any]] = {}
    """What each split that is done holds."""


class Checked(Protocol):
    """An annotation file whose checksum is known."""

    source: str
    sha256: str


def read_build(output: Path) -> BuildRecord | None:
    """Read a folder's `build.json`; None where there is none.

    Raises
    ------
    InputError
        If the file is damaged, of another version of the builder, or missing in a folder that has masks.
    """
    path = output / "build.json"
    try:
        record = msgspec.json.decode(path.read_bytes(), type=BuildRecord)
    except FileNotFoundError:
        if (output / "masks").exists():
            raise InputError(
                f"{output}: has masks/ but no build.json, so nobody knows what they are; choose another folder"
            ) from None
        return None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: damaged ({error}); delete {output} and build it again") from None
    if record.format != FORMAT:
        raise InputError(
            f"{path}: is of format {record.format}, this version writes {FORMAT}; delete {output} and build it again"
        )
    return record


def begin_build(output: Path, *, images: Path, files: Iterable[Checked]) -> BuildRecord:
    """Write down what goes into a build, beside what went in before.

    Raises
    ------
    InputError
        If the folder was built from another file than one of these.
    """
    record = read_build(output) or BuildRecord(FORMAT, str(images), {})
    for file in files:
        before = record.inputs.setdefault(file.source, file.sha256)
        if before != file.sha256:
            raise InputError(
                f"{output}: was built from another {option_of(file.source)} (sha256 {before[:12]}..., now "
                f"{file.sha256[:12]}...); choose another --output, or delete this one"
            )
    record.images = str(images)
    write_build(output, record)
    return record


def write_build(output: Path, record: BuildRecord) -> None:
    """Write `build.json`."""
    write_json(output / "build.json", msgspec.to_builtins(record))


class Journal:
    """A split's `masks.jsonl`: the facts of its masks, by image id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[int, MaskFacts] = {}
        decoder = msgspec.json.Decoder(MaskFacts)
        for line in path.read_bytes().split(b"\n") if path.is_file() else ():
            try:
                facts = decoder.decode(line)
            except msgspec.DecodeError:  # cut off in the middle of a line: that mask is made again
                continue
            self.facts[facts.image_id] = facts

    def is_whole(self, image_id: int, mask: Path) -> bool:
        """Say whether a mask is there as it was written, by its length and checksum."""
        facts = self.facts.get(image_id)
        if facts is None:
            return False
        try:
            content = mask.read_bytes()
        except FileNotFoundError:
            return False
        return len(content) == facts.size and zlib.crc32(content) == facts.crc32

    def settle(self, image_ids: Iterable[int]) -> None:
        """Put the file in the order of these images, without lines of others."""
        self.facts = {image_id: self.facts[image_id] for image_id in image_ids if image_id in self.facts}
        content = b"".join(_line(facts) for facts in self.facts.values())
        write_atomically(self.path, lambda temporary: temporary.write_bytes(content))

    def add(self, masks: Iterable[MaskFacts]) -> None:
        """Note masks that were written just now."""
        lines = b""
        for facts in masks:
            self.facts[facts.image_id] = facts
            lines += _line(facts)
        with self.path.open("ab") as file:
            file.write(lines)


def _line(facts: MaskFacts) -> bytes:
    return msgspec.json.encode(facts) + b"\n"

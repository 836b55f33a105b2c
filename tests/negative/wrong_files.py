"""The files of a case, made from the few words with which a table's row describes them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from tests.cli.workplace import SWEEP, TRIAL
from tests.coco_lvis.generated import Sources
from tests.data.fixtures import save_low_depth_grey_png

BETRAYED = "unpickled"
"""A file that appears where a pickle of `pickled` is loaded."""


def make_file(path: Path, words: Any) -> None:
    """Make what `words` say of a file: `{kind: what}`, further keys are the kind's, `mode` is the permissions."""
    options = dict(words)
    mode = options.pop("mode", None)
    kind = next(iter(options))
    what = options.pop(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        # A new file in its place: what was there is a link into a workplace that all cases share.
        kept = path.read_bytes() if path.is_file() else b""
        path.unlink(missing_ok=True)
        options |= {"kept": kept} if kind in _CHANGES else {}
    KINDS[kind](path, what, **options)
    if mode is not None:
        path.chmod(int(mode, 8))


def _text(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))


def _hex(path: Path, digits: str) -> None:
    path.write_bytes(bytes.fromhex(digits))


def _repeated(path: Path, text: str, *, times: int) -> None:
    path.write_text(text * times)


def _size(path: Path, size: int, *, begin: str = "") -> None:
    with path.open("wb") as file:
        file.write(begin.encode())
        file.truncate(size)


def _trial(path: Path, changes: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(_merged(yaml.safe_load(TRIAL), changes)))


def _sweep(path: Path, changes: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(SWEEP), **changes}, sort_keys=False))


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(value, Mapping) and isinstance(inner, dict) else value
    return merged


def _folder(path: Path, _: object) -> None:
    path.mkdir(exist_ok=True)


def _link(path: Path, target: str) -> None:
    path.symlink_to(target)


def _copy(path: Path, source: str) -> None:
    shutil.copyfile(path.parent / source, path)


def _gone(path: Path, _: object) -> None:
    if path.is_dir():
        shutil.rmtree(path)


def _unchanged(path: Path, _: object, *, kept: bytes = b"") -> None:
    """What is there; only the mode is another."""
    if not path.is_dir():
        path.write_bytes(kept)


def _pipe(path: Path, _: object) -> None:
    os.mkfifo(path)


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def _cut(path: Path, part: float, *, kept: bytes, end: str = "") -> None:
    path.write_bytes(kept[: int(len(kept) * part)] + bytes.fromhex(end))


def _flipped(path: Path, part: float, *, kept: bytes) -> None:
    place = int(len(kept) * part)
    path.write_bytes(kept[:place] + bytes([kept[place] ^ 0xFF]) + kept[place + 1 :])


def _replaced(path: Path, texts: Mapping[str, str], *, kept: bytes) -> None:
    text = kept.decode()
    for old, new in texts.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def _json_changed(path: Path, changes: Mapping[str, Any], *, kept: bytes) -> None:
    path.write_text(json.dumps({**json.loads(kept), **changes}))


class _Betrayal:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (BETRAYED, "w")


def _pickled(path: Path, form: str) -> None:
    if form == "torch":
        torch.save({"step": 1, "optimizer": _Betrayal()}, path)
    elif form == "npz":
        np.savez(path.open("wb"), pixels=np.array([_Betrayal()], object), fingerprint=np.array([_Betrayal()], object))
    else:
        path.write_bytes(pickle.dumps(_Betrayal()))


def _weights(path: Path, changes: Mapping[str, Any], *, kept: bytes) -> None:
    """Change a file of tensors: `metadata`, names to `drop`, `fill` all with a number, make a tensor of `shape`."""
    whole = path.with_name("whole")
    whole.write_bytes(kept)
    with safe_open(whole, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # it is no mapping
    whole.unlink()
    largest = max(tensors, key=lambda name: tensors[name].numel())
    if changes.get("drop"):
        del tensors[largest]
    if "fill" in changes:
        tensors = {name: torch.full_like(tensor, changes["fill"]) for name, tensor in tensors.items()}
    if "shape" in changes:
        tensors[largest] = torch.zeros(changes["shape"])
    metadata |= changes.get("metadata", {})
    save_file(tensors, path, metadata if changes.get("metadata") != {} else None)


_SIZE = (16, 16)


def _picture(
    path: Path,
    mode: str,
    *,
    format: str = "png",
    size: tuple[int, int] = _SIZE,
    exif: int = 0,
    compression: str | None = None,
) -> None:
    levels = np.random.default_rng(0).integers(0, 4, (size[1], size[0]))
    if mode == "F":
        picture = Image.fromarray(levels.astype(np.float32))
    elif mode == "I;16":
        picture = Image.fromarray((levels * 20_000).astype(np.uint16))
    else:
        picture = Image.fromarray(levels.astype(np.uint8)).convert(mode)
    options: dict[str, Any] = {} if compression is None else {"compression": compression}
    if exif:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = exif
    picture.save(path, format=format, **options)


def _mask(path: Path, value: int, *, size: tuple[int, int] = _SIZE, bits: int = 8) -> None:
    """A mask of one value; in 16 bits, or in fewer than 8."""
    ids = np.full((size[1], size[0]), value, np.uint16 if bits == 16 else np.uint8)
    if bits in (8, 16):
        Image.fromarray(ids).save(path, format="png")
    else:
        save_low_depth_grey_png(path, ids, bits=bits)


def _png_of(path: Path, size: tuple[int, int], *, rows: int = 1) -> None:
    """A grey PNG whose header says `size`, with few rows behind it: small on disk, whatever it says it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes((size[0] + 1) * rows), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b""))


def _annotations(path: Path, source: str, **changes: Any) -> None:
    """An annotation file of one image with one annotation; `image`, `annotation`, `category` change the row's keys.

    `twice` names a list whose first row stands twice.
    """
    sources = Sources()
    sources.add_image(9, split="train", folder="train2017")
    sources.add("lvis_train", 9, 5, [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]])
    content = sources.files[source]
    for kind, rows in (("image", "images"), ("annotation", "annotations"), ("category", "categories")):
        content[rows][0:1] = [{**row, **changes.get(kind, {})} for row in content[rows][0:1]]
    if "twice" in changes:
        content[changes["twice"]].append(dict(content[changes["twice"]][0]))
    if "without" in changes:
        del content[changes["without"]]
    text = json.dumps(content)
    for old, new in changes.get("text", {}).items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


KINDS: dict[str, Callable[..., None]] = {
    "text": _text,
    "hex": _hex,
    "repeated": _repeated,
    "size": _size,
    "trial": _trial,
    "sweep": _sweep,
    "folder": _folder,
    "link": _link,
    "copy": _copy,
    "gone": _gone,
    "unchanged": _unchanged,
    "pipe": _pipe,
    "json": _json,
    "json-changed": _json_changed,
    "cut": _cut,
    "flipped": _flipped,
    "replaced": _replaced,
    "pickled": _pickled,
    "weights": _weights,
    "picture": _picture,
    "mask": _mask,
    "png-of": _png_of,
    "annotations": _annotations,
}
_CHANGES = ("unchanged", "cut", "flipped", "replaced", "json-changed", "weights")
"""Kinds that change the file that is there."""

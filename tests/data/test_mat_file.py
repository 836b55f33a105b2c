"""The reader of MATLAB files, against SciPy's; and files that are wrong in each place."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from zlib_ng import zlib_ng

from essnet.config import InputError
from essnet.data import mat_file
from essnet.data.mat_file import read_numbers
from essnet.data.mat_labels import read_mat_ids

IDS = np.random.default_rng(0).integers(0, 100, (23, 41))


def saved(content: dict[str, Any], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def element(kind: int, data: bytes, *, order: str = "<", size: int | None = None) -> bytes:
    padding = b"" if kind == 15 else bytes(-len(data) % 8)
    return struct.pack(order + "II", kind, len(data) if size is None else size) + data + padding


def array(
    values: np.ndarray,
    *,
    name: bytes = b"S",
    flags: int = 9,
    shape: tuple[int, ...] | None = None,
    stored: int = 2,
    order: str = "<",
    content: bytes | None = None,
) -> bytes:
    """A variable, uint8 unless something else is said; each part can be made wrong."""
    dimensions = struct.pack(f"{order}{len(shape or values.shape)}i", *(shape or values.shape))
    parts = (
        element(6, struct.pack(order + "II", flags, 0), order=order),
        element(5, dimensions, order=order),
        element(1, name, order=order),
        element(stored, values.astype(np.uint8).tobytes("F") if content is None else content, order=order),
    )
    return element(14, b"".join(parts), order=order)


def file_of(*variables: bytes, order: str = "<", version: int = 0x0100) -> bytes:
    mark = struct.pack(order + "H", version) + (b"IM" if order == "<" else b"MI")
    return b"MATLAB 5.0 MAT-file".ljust(124) + mark + b"".join(variables)


def compressed(variable: bytes) -> bytes:
    return element(15, zlib_ng.compress(variable))


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_numbers_are_those_that_scipy_reads(dtype: str, is_compressed: bool) -> None:
    before = {"names": np.array(["a", "bcd"], object), "text": "words", "nested": {"a": {"b": IDS}}, "s": IDS * 1j}
    content = saved({**before, "S": IDS.astype(dtype), "after": IDS + 1}, compressed=is_compressed)
    found = read_numbers(content, variable="S")
    expected = loadmat(io.BytesIO(content))["S"]
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_fields_of_a_struct_are_those_that_scipy_reads(is_compressed: bool) -> None:
    cells = np.empty((20, 1), object)
    cells[:] = [[np.zeros((2, 2))]] * 20
    content = saved({"G": {"cells": cells, "a_map": IDS, "Segmentation": IDS.T + 1}}, compressed=is_compressed)
    found = read_numbers(content, variable="G", field="Segmentation")
    assert np.array_equal(found, loadmat(io.BytesIO(content))["G"]["Segmentation"][0, 0])
    assert np.array_equal(read_numbers(content, variable="G", field="a_map"), IDS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (0, 0), (0, 3)])
def test_small_shapes(shape: tuple[int, int]) -> None:
    content = saved({"S": np.full(shape, 5.0)})
    assert np.array_equal(read_numbers(content, variable="S"), loadmat(io.BytesIO(content))["S"])


def test_the_other_byte_order() -> None:
    content = file_of(array(IDS, order=">", stored=4, content=IDS.astype(">u2").tobytes("F")), order=">")
    assert np.array_equal(read_numbers(content, variable="S"), IDS)
    assert np.array_equal(loadmat(io.BytesIO(content))["S"], IDS)


def test_what_is_no_array_of_numbers_is_passed_over_or_refused() -> None:
    opaque = element(14, element(6, struct.pack("<II", 17, 0)) + element(1, b"S") + element(1, b"MCOS"))
    assert np.array_equal(read_numbers(file_of(opaque, array(IDS)), variable="S"), IDS)
    for wrong in ({"S": "words"}, {"S": IDS * 1j}, {"S": IDS[None]}, {"S": {"a": 1}}, {"S": np.array([IDS], object)}):
        with pytest.raises(TypeError):
            read_numbers(saved(wrong), variable="S")
    for variable, field in (("T", None), ("T", "a"), ("S", "a"), ("G", "b")):
        with pytest.raises(KeyError):
            read_numbers(saved({"S": IDS, "G": {"a": IDS}}), variable=variable, field=field)


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no MATLAB file of version 5 to 7"),
    "short header": (lambda: file_of()[:127], "no MATLAB file of version 5 to 7"),
    "HDF5": (lambda: file_of(version=0x0200), "version 7.3, which is HDF5; save it with -v7"),
    "unknown version": (lambda: file_of(version=0x0300), "unknown version"),
    "cut tag": (lambda: file_of(array(IDS))[:133], "it ends early"),
    "cut data": (lambda: file_of(array(IDS))[:-9], "it ends early"),
    "size of another": (lambda: file_of(element(14, b"", size=2**31)), "it ends early"),
    "stray element": (lambda: file_of(element(5, b"\1\0\0\0")), "type 5 where a variable belongs"),
    "large small element": (lambda: file_of(struct.pack("<HHI", 14, 9, 0)), "9 bytes in the place of four"),
    "flags": (lambda: file_of(element(14, element(6, b"\1\0\0\0"))), "1 numbers for its kind"),
    "flags of half a number": (lambda: file_of(element(14, element(6, b"\1\0\0"))), "3 bytes for numbers of four"),
    "no flags": (lambda: file_of(element(14, element(5, b"\1\0\0\0"))), "type 5 where 6 belongs"),
    "negative side": (lambda: file_of(array(IDS, shape=(-1, 3))), "of shape"),
    "huge sides": (lambda: file_of(array(IDS, shape=(2**31 - 1, 2**31 - 1))), "943 bytes for an array of 2147483647 x"),
    "sides that differ": (lambda: file_of(array(IDS, shape=(41, 24))), "943 bytes for an array of 41 x 24"),
    "numbers of no type": (lambda: file_of(array(IDS, stored=8)), "type 8 where numbers belong"),
    "no numbers": (lambda: file_of(array(IDS, stored=16)), "type 16 where numbers belong"),
    "no deflate": (lambda: file_of(element(15, b"words")), "incorrect header check"),
    "cut deflate": (
        lambda: file_of(element(15, zlib_ng.compress(array(IDS))[:-20])),
        "S is compressed, and not of the size that it says",
    ),
    "nothing in it": (lambda: file_of(compressed(b"")), "it ends early"),
    "more behind it": (lambda: file_of(compressed(array(IDS) + b"x")), "not of the size that it says"),
    "another element in it": (lambda: file_of(compressed(element(5, b"\1\0\0\0"))), "type 5 where a variable belongs"),
    "bomb": (
        lambda: file_of(compressed(struct.pack("<II", 14, 2**31) + array(IDS)[8:])),
        "2,147,483,648 bytes; no label map has more than 268,435,456",
    ),
}


@pytest.mark.parametrize(("content", "message"), [pytest.param(*case, id=name) for name, case in WRONG.items()])
def test_a_wrong_file_is_answered(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content())
    with pytest.raises(InputError, match=rf"^{path}: cannot be read as a MATLAB file \(.*{message}.*\)$"):
        read_mat_ids(path, variable="S")


def test_struct_without_fields() -> None:
    names = element(5, struct.pack("<i", 0)) + element(1, b"")
    head = element(6, struct.pack("<II", 2, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"G")
    with pytest.raises(ValueError, match="a struct without names for its fields"):
        read_numbers(file_of(element(14, head + names)), variable="G", field="a")
    empty = element(6, struct.pack("<II", 2, 0)) + element(5, struct.pack("<ii", 0, 0)) + element(1, b"G")
    with pytest.raises(KeyError):
        read_numbers(file_of(element(14, empty + names)), variable="G", field="a")


def test_no_more_is_inflated_than_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((2000, 2000), np.uint8)
    inflated = []

    class Counted:
        def __init__(self) -> None:
            self._stream = zlib_ng.decompressobj()

        def decompress(self, data: bytes, most: int) -> bytes:
            inflated.append(len(found := self._stream.decompress(data, most)))
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    content = file_of(compressed(array(zeros, name=b"large")), compressed(array(IDS)))
    expected = len(array(IDS))

    class Module:
        decompressobj, error = Counted, zlib_ng.error

    monkeypatch.setattr(mat_file, "zlib_ng", Module)
    assert np.array_equal(read_numbers(content, variable="S"), IDS)
    assert sum(inflated) <= expected + 1024

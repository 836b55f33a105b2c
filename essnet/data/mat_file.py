"""Arrays in MATLAB files of version 5 to 7, read so that no file can do harm.

The format is described in MathWorks' "MAT-File Format". Of it this reads what labels need: a two-dimensional array of
numbers, compressed or not, by itself or as a field of a struct; all else is passed over. Each size is held against
what is there before it is believed, and nothing is inflated beyond `MOST_BYTES`. (SciPy's reader knows all of the
format, but a damaged file can end its process.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

MOST_BYTES = 1 << 28
"""Of one variable: 33 million pixels in MATLAB's own numbers, which take 8 bytes each."""

_HEADER_BYTES = 128
_BEGIN_BYTES = 1024
"""What a variable's kind, size and name certainly fit in."""

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED, _UTF8 = 1, 5, 6, 14, 15, 16
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of numbers, as they are stored."""
_STRUCT, _OPAQUE = 2, 17
_ARRAYS_OF_NUMBERS = range(6, 16)
_COMPLEX = 0x0800


def read_numbers(content: bytes, *, variable: str, field: str | None = None) -> npt.NDArray[Any]:
    """The numbers of a variable of a file, or of a field of the struct that it is: (H, W), in the type that is stored.

    Raises KeyError where there is no such variable or field, TypeError where that is no two-dimensional array of real
    numbers, and ValueError for a damaged file and for one of another kind.
    """
    order = _byte_order(content)
    for elements in _variables(memoryview(content)[_HEADER_BYTES:], order, variable):
        array = _Array.begin(elements)
        if field is not None:
            array = _Array.begin(_Elements(_field_of(array, field), order))
        return array.numbers()
    raise KeyError(variable)


def _byte_order(content: bytes) -> str:
    header = content[:_HEADER_BYTES]
    order = {b"IM": "<", b"MI": ">"}.get(header[126:])
    if order is None:
        raise ValueError("no MATLAB file of version 5 to 7")
    version = header[125] if order == "<" else header[124]
    if version != 1:
        raise ValueError("it is of version 7.3, which is HDF5; save it with -v7" if version == 2 else "unknown version")
    return order


@dataclass
class _Elements:
    """What lies in a stretch of bytes one after another, each with its type and its size before it."""

    content: memoryview
    order: str
    place: int = 0

    def next(self) -> tuple[int, memoryview]:
        """Return the type and the data of the next one."""
        first = self.number_at(self.place)
        if first >> 16:  # of at most four bytes, type and size in two bytes each
            kind, size, begin = first & 0xFFFF, first >> 16, self.place + 4
            after = self.place + 8
            if size > 4:
                raise ValueError(f"an element of {size} bytes in the place of four")
        else:
            kind, size, begin = first, self.number_at(self.place + 4), self.place + 8
            after = begin + size + (0 if kind == _COMPRESSED else -size % 8)
        if begin + size > len(self.content):
            raise ValueError("it ends early")
        self.place = after
        return kind, self.content[begin : begin + size]

    def next_of(self, *kinds: int) -> memoryview:
        """Return the data of the next one, which has to be of one of these types."""
        kind, data = self.next()
        if kind not in kinds:
            raise ValueError(f"an element of type {kind} where {kinds[0]} belongs")
        return data

    def numbers(self, kind: int) -> list[int]:
        """Return the whole numbers of the next one, which has to be of this type."""
        data = self.next_of(kind)
        if len(data) % 4:
            raise ValueError(f"{len(data)} bytes for numbers of four bytes")
        return [int(number) for number in np.frombuffer(data, self.order + _NUMBERS[kind])]

    def number_at(self, place: int) -> int:
        """Return the whole number of four bytes at a place."""
        four = self.content[place : place + 4]
        if len(four) < 4:
            raise ValueError("it ends early")
        return int.from_bytes(four, "little" if self.order == "<" else "big")


def _variables(content: memoryview, order: str, name: str) -> Iterator[_Elements]:
    """Yield what the variables of a name are made of."""
    elements = _Elements(content, order)
    while elements.place < len(content):
        kind, data = elements.next()
        if kind == _MATRIX:
            if _Array.begin(_Elements(data, order)).name == name:
                yield _Elements(data, order)
        elif kind == _COMPRESSED:
            inflated = _inflated_variable(data, order, name)
            if inflated is not None:
                yield _Elements(inflated, order)
        else:
            raise ValueError(f"an element of type {kind} where a variable belongs")


def _inflated_variable(data: memoryview, order: str, name: str) -> memoryview | None:
    """The data of a compressed variable; None, and no more than its begin inflated, for one of another name."""
    stream = zlib_ng.decompressobj()
    try:
        begin = stream.decompress(data, _BEGIN_BYTES)
        tag = _Elements(memoryview(begin), order)
        kind, size = tag.number_at(0), tag.number_at(4)
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where a variable belongs")
        if _Array.begin(_Elements(memoryview(begin)[8:], order)).name != name:
            return None
        if size > MOST_BYTES:
            raise ValueError(f"{name} has {size:,} bytes; no label map has more than {MOST_BYTES:,}")
        whole = begin + stream.decompress(stream.unconsumed_tail, max(8 + size - len(begin), 0) + 1)
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub does not call it a class
        raise ValueError(str(error)) from None
    if len(whole) != 8 + size or not stream.eof:
        raise ValueError(f"{name} is compressed, and not of the size that it says")
    return memoryview(whole)[8:]


@dataclass
class _Array:
    """A variable or a field, of which is read what comes before its content."""

    kind: int
    is_complex: bool
    shape: list[int]
    name: str | None
    content: _Elements

    @classmethod
    def begin(cls, elements: _Elements) -> _Array:
        flags = elements.numbers(_UINT32)
        if len(flags) != 2:
            raise ValueError(f"an array with {len(flags)} numbers for its kind, where two belong")
        kind = flags[0] & 0xFF
        if kind == _OPAQUE:  # an object of newer versions: no more is known of it
            return cls(kind, False, [], None, elements)
        shape = elements.numbers(_INT32)
        if any(side < 0 for side in shape):
            raise ValueError(f"an array of shape {shape}")
        name = bytes(elements.next_of(_INT8, _UTF8)).decode("utf-8", "replace")
        return cls(kind, bool(flags[0] & _COMPLEX), shape, name, elements)

    def numbers(self) -> npt.NDArray[Any]:
        if self.kind not in _ARRAYS_OF_NUMBERS or self.is_complex or len(self.shape) != 2:
            raise TypeError("no two-dimensional array of real numbers")
        kind, data = self.content.next()
        if kind not in _NUMBERS:
            raise ValueError(f"an element of type {kind} where numbers belong")
        stored = np.dtype(self.content.order + _NUMBERS[kind])
        height, width = self.shape
        if len(data) != height * width * stored.itemsize:
            raise ValueError(f"{len(data):,} bytes for an array of {height} x {width}")
        # MATLAB stores column after column.
        return np.frombuffer(data, stored).reshape(width, height).T.astype(stored.newbyteorder("="), order="C")


def _field_of(array: _Array, field: str) -> memoryview:
    """The data of a field of a struct, of the first where it is an array of them."""
    if array.kind != _STRUCT or math.prod(array.shape) < 1:
        raise KeyError(field)
    lengths = array.content.numbers(_INT32)
    names = bytes(array.content.next_of(_INT8))
    if len(lengths) != 1 or lengths[0] < 1 or len(names) % lengths[0]:
        raise ValueError("a struct without names for its fields")
    for begin in range(0, len(names), lengths[0]):
        data = array.content.next_of(_MATRIX)
        if names[begin : begin + lengths[0]].rstrip(b"\0") == field.encode():
            return data
    raise KeyError(field)

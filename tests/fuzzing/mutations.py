"""Files made wrong at random, the same way for the same random numbers."""

from __future__ import annotations

import json
import struct
import zlib
from random import Random
from typing import Any

_MOST_CHANGES = 6
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 7, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a", "../../x",
    "\0", "ü", "1" * 300, [], {}, [[]], [1, 2], [None], {"": 0}, {"id": 0, "name": "a"}, [[[[[[[[1]]]]]]]],
)  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"


def mutated(content: bytes, random: Random) -> bytes:
    """Change some bytes: other values, bytes that are gone, twice, or in another place, a file that ends early."""
    changed = bytearray(content)
    for _ in range(random.randint(1, _MOST_CHANGES)):
        place = random.randrange(len(changed) + 1)
        length = min(random.choice((1, 1, 2, 4, 8, 64, 1024)), len(changed))
        kind = random.randrange(7)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[place : place + length] = random.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length] * random.choice((1, 2, 50))
        elif kind == 4:
            number, order = random.choice(_NUMBERS), random.choice(("<Q", ">Q"))
            written = struct.pack(order, number)
            size = random.choice((1, 2, 4, 8))
            changed[place : place + size] = written[:size] if order == "<Q" else written[-size:]
        elif kind == 5:
            start = random.randrange(len(changed) + 1)
            changed[place : place + length] = changed[start : start + length]
        else:
            del changed[max(place, len(changed) // 8) :]
    return bytes(changed)


def with_png_checksums(content: bytes) -> bytes:
    """Make the checksums of a PNG's chunks right again, so that what is in the chunks is looked at."""
    if not content.startswith(_PNG):
        return content
    mended, place = bytearray(_PNG), len(_PNG)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            break
        mended += content[place:end] + struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(mended) + content[place:]


def mutated_json(text: str, random: Random) -> bytes:
    """Change some values or keys of a JSON text at random, or its bytes."""
    if random.random() < 0.3:
        return mutated(text.encode(), random)
    return json.dumps(mutated_value(json.loads(text), random)).encode()


def mutated_value(value: Any, random: Random) -> Any:
    """Change some values or keys of a JSON value at random."""
    for _ in range(random.randint(1, 3)):
        value = _changed(value, random)
    return value


def _changed(value: Any, random: Random) -> Any:
    """Walk down at random, and change what lies there."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        return random.choice(_VALUES)
    if isinstance(value, dict):
        key = random.choice(list(value))
        kind = random.random()
        if kind < 0.15:
            return {other: inner for other, inner in value.items() if other != key}
        if kind < 0.25:
            return {**value, random.choice(("x", "", "id", "name", key + "s")): random.choice(_VALUES)}
        return {**value, key: _changed(value[key], random)}
    place = random.randrange(len(value))
    kind = random.random()
    if kind < 0.15:
        return value[:place] + value[place + 1 :]
    if kind < 0.3:
        return [*value, value[place]]
    return [*value[:place], _changed(value[place], random), *value[place + 1 :]]

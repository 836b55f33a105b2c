from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from essnet.checksums import sha256_of


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (2 << 20) + 7])
def test_the_sum_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()

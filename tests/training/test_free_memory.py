from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from essnet.training.free_memory import return_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_is_free_between_tensors_goes_back_to_the_system() -> None:
    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    def held() -> list[torch.Tensor]:
        """Every second of 400 tensors of 1 MiB: the others' place is free, but in the middle of the heap."""
        torch.ones(8 * 2**20).sum()  # 32 MiB given back: from now on tensors up to that size lie in the heap
        return [torch.ones(2**18) for _ in range(400)][::2]

    tensors = held()
    before = resident_mib()
    return_memory()
    assert before - resident_mib() > 100
    assert len(tensors) == 200

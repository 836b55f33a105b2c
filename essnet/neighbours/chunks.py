"""How many rows of a large product to hold at once: a byte budget rather than a fixed row count."""

from __future__ import annotations

import torch

MIB = 1 << 20

# On a CPU the buffers of a chunk should stay in cache; elsewhere a chunk should be large enough to fill the
# device.
CPU_CHUNK_BYTES = 4 * MIB
ACCELERATOR_CHUNK_BYTES = 128 * MIB


def default_chunk_bytes(device: torch.device) -> int:
    """Return the byte budget of one chunk on `device`."""
    return CPU_CHUNK_BYTES if device.type == "cpu" else ACCELERATOR_CHUNK_BYTES


def rows_per_chunk(*, bytes_per_row: int, chunk_bytes: int) -> int:
    """Return how many rows of `bytes_per_row` fit the budget, at least one."""
    return max(1, chunk_bytes // max(1, bytes_per_row))

"""What a GPU would do to a loss, on a machine without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten

# By their names without overload: each makes the host wait for a GPU, for a value or for the size of its result.
WAITING = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "allclose",
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "masked_scatter",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "unique_dim_consecutive",
    "bincount",
    "histc",
    "repeat_interleave",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}


class Waits(AssertionError):
    """The host would wait."""


class NoWaiting(TorchDispatchMode):
    """Fails at the first operator for which the host would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in WAITING:
            raise Waits(f"{func} reads a value")
        if name in INDEXING and any(
            isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8) for leaf in tree_leaves(args[1])
        ):
            raise Waits(f"{func} by a mask counts it")
        if name in ("_to_copy", "copy_") and not _travels_freely(name, args, kwargs):
            raise Waits(f"{func} between devices is waited for")
        return func(*args, **kwargs)


def _travels_freely(name: str, args: Any, kwargs: Any) -> bool:
    if name == "copy_":
        destination, source = args[:2]
        return destination.device == source.device or (len(args) > 2 and args[2]) or kwargs.get("non_blocking", False)
    device = kwargs.get("device")
    return device is None or device == args[0].device or bool(kwargs.get("non_blocking"))


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CPU tensors go the way that CUDA tensors go."""
    monkeypatch.setattr("essnet.losses.waiting._QUEUEING_DEVICES", ("cpu",))
    monkeypatch.setattr("essnet.losses.paths.fused_can_take", lambda rows: False)
    monkeypatch.setattr("essnet.neighbours.backends.fastest_backend", lambda class_embeddings: "torch")

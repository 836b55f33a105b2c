"""What makes the host wait for a GPU, and how to do without it.

A GPU works through a queue. To read a value of a tensor there, or only to ask how many entries fulfil a condition,
the host waits until the queue is empty, and then the GPU waits for the host. So on a GPU the losses read nothing,
and shapes do not depend on values. On a CPU reading is free, and what a value tells can save work.
"""

from __future__ import annotations

import torch
from torch import Tensor

_QUEUEING_DEVICES = ("cuda",)


def host_waits_for(device: torch.device) -> bool:
    """Return whether the host would have to wait to read a tensor on this device."""
    return device.type in _QUEUEING_DEVICES


def assert_on_device(condition: Tensor, message: str) -> None:
    """Fail where the scalar `condition` is false, without waiting for it.

    On a GPU this prints the message and ends the queue: CUDA's "device-side assert triggered" is raised by
    whatever reads from the GPU next, and nothing can be computed there in this process any more.
    """
    torch._assert_async(condition, message)


def sent_to(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return the tensor on `device`, without waiting for a copy to a GPU: out of memory that it reads by itself."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

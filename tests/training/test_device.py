from __future__ import annotations

import pytest
import torch

from essnet.config import InputError
from essnet.training.device import resolve_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["gpus"],
)
def test_devices_that_are_there(gpus: int, name: str, device: str) -> None:
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (0, "cuda", r"^trainer\.device: found 'cuda', but torch sees no GPU; take cpu or auto$"),
        (2, "cuda:2", r"^trainer\.device: found 'cuda:2', but torch sees cuda:0 to cuda:1"),
        (0, "gpu", r"^trainer\.device: found 'gpu'; one of auto, cpu, cuda"),
        (2, "cuda:01", r"^trainer\.device: found 'cuda:01'; one of"),
        (0, "meta", r"^trainer\.device: found 'meta'; one of"),
    ],
    indirect=["gpus"],
)
def test_devices_that_are_not(gpus: int, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_device(name)
    with pytest.raises(InputError, match=message.replace(r"trainer\.device", "--device")):
        resolve_device(name, key="--device")

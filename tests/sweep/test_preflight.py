from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.sweep.preflight import check_arms, check_devices
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep

SLOW_TO_IMPORT = {"torchvision", "timm", "segmentation_models_pytorch", "ray", "mlflow", "optuna", "faiss", "sympy"}


def sweep_on(folder: Path, device: str, precision: str = "float32"):
    trainer = {**TINY_TRIAL["trainer"], "device": device, "precision": precision}
    return tiny_sweep(folder, base={**TINY_TRIAL, "trainer": trainer})


@pytest.mark.parametrize(
    ("device", "gpus"),
    [
        ("auto", 0.0),
        ("auto", 0.5),
        ("cpu", 0.0),
        ("cpu", 1.0),
        ("cuda", 0.5),
        ("cuda", 1.0),
        ("cuda:0", 0.25),
        ("cuda:1", 2.0),
    ],
)
def test_devices_that_trials_get(tmp_path: Path, device: str, gpus: float) -> None:
    check_devices(sweep_on(tmp_path, device), gpus=gpus)


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        (
            "cuda",
            0.0,
            r"^trainer\.device: found 'cuda', but torch sees no GPU in a trial of this sweep; take cpu or auto$",
        ),
        ("cuda:1", 0.0, r"found 'cuda:1', but torch sees no GPU"),
        ("cuda:1", 1.0, r"found 'cuda:1', but torch sees cuda:0 alone in a trial of this sweep; take auto"),
        ("cuda:1", 0.5, r"found 'cuda:1', but"),
        ("cuda:2", 2.0, r"found 'cuda:2', but torch sees cuda:0 to cuda:1 in a trial"),
    ],
)
def test_devices_that_they_do_not(tmp_path: Path, device: str, gpus: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_devices(sweep_on(tmp_path, device), gpus=gpus)


def test_precision_is_that_of_the_device_that_trials_get(tmp_path: Path) -> None:
    sweep = sweep_on(tmp_path, "auto", "float16")
    check_devices(sweep, gpus=0.5)
    with pytest.raises(InputError, match=r"trainer\.precision: found float16, which needs a GPU"):
        check_devices(sweep, gpus=0.0)


def test_an_arm_that_cannot_be_built_is_found(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax"}, "other": {"model.encoder": "resnet1"}}
    with pytest.raises(InputError, match=r"model\.encoder"):
        check_arms(tiny_sweep(tmp_path, arms=arms), cache_dir=tmp_path / "cache")


def test_a_dry_run_imports_neither_networks_nor_data_sets() -> None:
    code = (
        "import sys\n"
        "import essnet.sweep.plan, essnet.sweep.preflight, essnet.sweep.resources\n"
        f"print(sorted({SLOW_TO_IMPORT!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Commands that write, on a disk that refuses one of their files after the other: one line, and nothing half-written.

Those with tests of their own: `train`, `sweep`, `report`, `predict`, `data download`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from essnet.cli.app import main
from essnet.training.trainer import Trainer
from tests.coco_lvis.generated import overlapping
from tests.data.fixtures import make_folder_dataset
from tests.file_system_calls import refused_from
from tests.training.tiny import tiny_trial

COMMANDS = {
    "evaluate": "evaluate run/checkpoints/last --save OUT",
    "grow": "grow run/checkpoints/last --classes new.txt --examples examples --output OUT",
    "data check": "data check folder --root data --preview OUT.png",
    "data build-coco-lvis": "data build-coco-lvis --workers 0 --images coco/images --lvis-train coco/lvis_train.json "
    "--stuff-train coco/stuff_train.json --output OUT",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what these commands read."""
    root = tmp_path_factory.mktemp("place")
    make_folder_dataset(root / "data", num_images=2, size=(32, 32))
    config = tiny_trial(
        {
            "data": {"name": "folder", "root": str(root / "data"), "crop_size": 32},
            "objective": {"name": "embedding_softmax", "similarity": "dot", "embedding_dim": 3},
            "trainer.max_steps": 1,
        }
    )
    Trainer(config, directory=root / "run").train()
    (root / "new.txt").write_text("class 4\n")
    make_folder_dataset(root / "examples", splits=("train",), size=(32, 32), num_classes=5)
    overlapping(num_images=2).write(root / "coco")
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_whichever_file_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(place)
    ends = []
    for number in itertools.count():
        out = place / f"{command.split()[-1]}-{number}"
        with refused_from(number, place) as refused, pytest.raises(SystemExit) as exited:
            main(COMMANDS[command].replace("OUT", out.name).split())
        err = capsys.readouterr().err
        ends.append(exited.value.code)
        if not refused:
            break
        (line,) = err.splitlines()
        assert line.startswith("essnet: OSError: "), line
        assert "[Errno 28] No space left on device" in line
        assert out.name in line
        assert [path for path in place.rglob("*") if "partial" in path.name] == []
    assert ends == [1] * (len(ends) - 1) + [0], err
    assert len(ends) > 1

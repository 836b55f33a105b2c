from __future__ import annotations

import json
import os
import pickletools
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from essnet.config import InputError, load_trial
from essnet.data import ClassTable
from essnet.training import checkpoint as module
from essnet.training.checkpoint import FORMAT_VERSION, open_checkpoint
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.training.tiny import NUM_CLASSES, assert_same, tiny_trial

CLASSES = ClassTable(("sky", "sea"))
CPU = torch.device("cpu")


def save(folder: CheckpointFolder, step: int, *, best_step: int | None = None) -> Path:
    return folder.save(
        step,
        best_step=best_step,
        weights={"weight": torch.full((2, 3), float(step))},
        trainer_state={"step": step},
        config=tiny_trial(),
        classes=CLASSES,
    )


def names(folder: CheckpointFolder) -> set[str]:
    return {path.name for path in folder.root.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    Trainer(tiny_trial({"trainer.max_steps": 2, "objective.name": "knn_softmax"}), directory=directory).train()
    return directory / "checkpoints"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(CheckpointFolder(tmp_path), 1)


def test_a_run_leaves_a_folder_that_is_enough_to_go_on(trained: Path) -> None:
    assert {path.name for path in (trained / "last").iterdir()} == {
        "model.safetensors",
        "trainer.pt",
        "config.yaml",
        "classes.json",
        "checksums.json",
    }
    config = tiny_trial({"trainer.max_steps": 2, "objective.name": "knn_softmax"})
    opened = open_checkpoint(trained / "last")
    assert opened.config == config
    assert load_trial(trained / "last" / "config.yaml") == config
    assert opened.classes.num_classes == NUM_CLASSES
    assert json.loads((trained / "last" / "classes.json").read_text())[1] == {"id": 1, "name": "texture 1"}
    model = load_model(opened, device=CPU)
    assert not model.training
    assert_same(dict(model.state_dict()), load_file(trained / "last" / "model.safetensors"))


def test_trainer_state_holds_no_code(trained: Path) -> None:
    state = torch.load(trained / "last" / "trainer.pt", weights_only=True)
    assert state["step"] == 2
    with zipfile.ZipFile(trained / "last" / "trainer.pt") as archive:
        pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    named = {
        text
        for pickle in pickles
        for operation, text, _ in pickletools.genops(pickle)
        if operation.name in ("GLOBAL", "STACK_GLOBAL")
    }
    assert named <= {
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch ByteStorage",
        "collections OrderedDict",
    }


def test_links_and_pruning(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.last() is None
    assert folder.best() is None
    save(folder, 1)
    assert (folder.last(), folder.best()) == (tmp_path / "step-000001", None)
    save(folder, 2, best_step=2)
    assert names(folder) == {"step-000002", "last", "best"}
    save(folder, 3, best_step=2)
    save(folder, 4, best_step=2)
    assert names(folder) == {"step-000002", "step-000004", "last", "best"}
    assert (folder.last(), folder.best()) == (tmp_path / "step-000004", tmp_path / "step-000002")
    # Relative: the run's folder can be moved.
    assert os.readlink(tmp_path / "last") == "step-000004"
    save(folder, 5, best_step=5)
    assert names(folder) == {"step-000005", "last", "best"}


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    (save(folder, 1) / "leftover").touch()
    save(folder, 1)
    assert not (tmp_path / "step-000001" / "leftover").exists()
    assert names(folder) == {"step-000001", "last"}


def test_a_fresh_run_in_a_used_folder_does_not_keep_its_best(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    save(folder, 9, best_step=9)
    save(folder, 1)
    assert folder.best() is None
    assert names(folder) == {"step-000001", "last"}


CRASHES = {
    # moment: what is called then, and how often it was called before
    "weights": (module, "save_tensors", 0),
    "state": (torch, "save", 0),
    "flush of a file": (os, "fsync", 0),
    "flush of the folder": (os, "fsync", 5),
    "rename": (Path, "rename", 0),
    "flush of its name": (os, "fsync", 6),
    "new last": (Path, "symlink_to", 0),
    "last": (Path, "replace", 0),
    "new best": (Path, "symlink_to", 1),
    "best": (Path, "replace", 1),
    "flush of the links": (os, "fsync", 7),
    "hide": (Path, "rename", 1),
    "prune": (shutil, "rmtree", 0),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_while_saving_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    folder = CheckpointFolder(tmp_path)
    save(folder, 1, best_step=1)
    owner, name, calls_before = CRASHES[crash]
    original, calls = getattr(owner, name), 0

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        # The temporary folder, not there yet, is removed first of all: that is no crash worth a test.
        calls += not options.get("ignore_errors")
        if calls <= calls_before:
            return original(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(KeyboardInterrupt):
        save(folder, 2, best_step=2)
    monkeypatch.undo()

    last, best = folder.last(), folder.best()
    assert last is not None
    assert best is not None
    for path in (last, best):
        assert path.name in ("step-000001", "step-000002")
        step = int(path.name[-1])
        assert torch.equal(open_checkpoint(path).weights()["weight"], torch.full((2, 3), float(step)))
        assert open_checkpoint(path).trainer_state() == {"step": step}
    save(folder, 2, best_step=2)  # a resumed run comes to the same step
    assert names(folder) == {"step-000002", "last", "best"}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    (tmp_path / ".step-000007.partial").mkdir()
    (tmp_path / ".step-000007.partial" / "model.safetensors").touch()
    save(folder, 8)
    assert names(folder) == {"step-000008", "last"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "classes.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe garbage \x00", b"12"])
def test_damaged_files_are_named(checkpoint: Path, name: str, content: bytes) -> None:
    (checkpoint / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{checkpoint / name}: ") as caught:
        open_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)


def test_weights_that_were_cut_off_are_named(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=f"^{path}: damaged"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe garbage \x00", None])
def test_damaged_trainer_state_is_named(checkpoint: Path, content: bytes | None) -> None:
    path = checkpoint / "trainer.pt"
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(InputError, match=f"^{path}: damaged") as caught:
        open_checkpoint(checkpoint).trainer_state()
    assert "\n" not in str(caught.value)


def test_pickled_code_is_not_run(checkpoint: Path) -> None:
    torch.save({"step": Path("x")}, checkpoint / "trainer.pt")
    with pytest.raises(InputError, match=r"trainer\.pt: damaged"):
        open_checkpoint(checkpoint).trainer_state()


def test_a_newer_format_is_refused(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    save_file(weights, checkpoint / "model.safetensors", {"format_version": str(FORMAT_VERSION + 1)})
    with pytest.raises(InputError, match=rf"format {FORMAT_VERSION + 1}, .* up to {FORMAT_VERSION}; it needs a newer"):
        open_checkpoint(checkpoint)


def test_weights_of_another_program_are_refused(checkpoint: Path) -> None:
    save_file({"weight": torch.zeros(1)}, checkpoint / "model.safetensors")
    with pytest.raises(InputError, match="not written by essnet"):
        open_checkpoint(checkpoint)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is no checkpoint \(model\.safetensors, .* missing\)"):
        open_checkpoint(tmp_path)
    with pytest.raises(InputError, match="is no checkpoint"):
        open_checkpoint(checkpoint / "config.yaml")
    (checkpoint / "trainer.pt").unlink()
    with pytest.raises(InputError, match=r"is no checkpoint \(trainer\.pt missing\)"):
        open_checkpoint(checkpoint)


def test_weights_of_another_model_are_refused(trained: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(trained / "last")
    weights = dict(opened.weights())
    weights.pop("output_layer.class_embeddings")
    path = CheckpointFolder(tmp_path).save(
        1, best_step=None, weights=weights, trainer_state={}, config=opened.config, classes=opened.classes
    )
    with pytest.raises(InputError, match=r"the weights do not fit its config\.yaml .*class_embeddings"):
        load_model(open_checkpoint(path), device=CPU)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut off":
        path.write_bytes(content[:-20])
    elif how == "one byte":  # of a weight, or of a moment: nothing in the file's own format notices
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if path.suffix == ".safetensors" else flipped(content))
    else:
        path.unlink()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.pt"])
@pytest.mark.parametrize("how", ["cut off", "one byte", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (1, 2, 3):
        save(folder, step, best_step=1)
    damage(tmp_path / "step-000003" / name, how)
    found = CheckpointFolder(tmp_path, keep=2).newest_whole()
    assert found is not None
    assert found.checkpoint.path == tmp_path / "step-000002"
    (warning,) = caplog.messages
    assert "step-000003" in warning
    assert name in warning
    assert warning.endswith("going on from step-000002 instead")
    # The one before that is the best, two steps older.
    damage(tmp_path / "step-000002" / name, how)
    found = CheckpointFolder(tmp_path, keep=2).newest_whole()
    assert found is not None
    assert found.checkpoint.path == tmp_path / "step-000001"
    damage(tmp_path / "step-000001" / name, how)
    with pytest.raises(InputError, match="step-000003"):
        CheckpointFolder(tmp_path, keep=2).newest_whole()


def test_the_newest_are_kept_beside_the_best(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (1, 2, 3, 4, 5):
        save(folder, step, best_step=min(step, 2))
    assert names(folder) == {"step-000002", "step-000004", "step-000005", "last", "best"}
    resumed = CheckpointFolder(tmp_path, keep=2)
    assert resumed.go_on_from(4, best_step=2) == 2
    assert names(resumed) == {"step-000002", "step-000004", "last", "best"}
    save(resumed, 6, best_step=2)
    assert names(resumed) == {"step-000002", "step-000004", "step-000006", "last", "best"}
    assert resumed.go_on_from(4, best_step=3) is None
    assert resumed.best() is None


def test_a_fresh_run_in_a_used_folder_keeps_nothing_of_the_earlier_one(tmp_path: Path) -> None:
    for step in (3, 9):
        save(CheckpointFolder(tmp_path, keep=2), step)
    save(CheckpointFolder(tmp_path, keep=2), 5)
    assert names(CheckpointFolder(tmp_path)) == {"step-000005", "last"}


def test_a_checkpoint_of_an_earlier_version_has_no_checksums(checkpoint: Path) -> None:
    (checkpoint / "checksums.json").unlink()
    assert torch.equal(open_checkpoint(checkpoint).weights()["weight"], torch.ones(2, 3))
    assert open_checkpoint(checkpoint).trainer_state() == {"step": 1}


def test_damaged_checksums_are_named(checkpoint: Path) -> None:
    (checkpoint / "checksums.json").write_text("{}")
    with pytest.raises(InputError, match=r"checksums\.json: damaged"):
        open_checkpoint(checkpoint).weights()

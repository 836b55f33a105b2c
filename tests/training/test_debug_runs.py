"""Debug runs of a single trial: overfitting, profiling, anomaly detection, the first batch, a sweep's trial alone."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from essnet.atomic_files import write_json
from essnet.cli.app import main
from essnet.cli.sweep_trial import load_sweep_trial
from essnet.config import InputError
from essnet.models import FullSoftmaxOutput
from essnet.sweep.folder import SweepFolder, TrialRecord
from essnet.tracking import RunStore, default_uri
from essnet.training.checkpoint import open_checkpoint
from essnet.training.overfitting import overfit_config, overfit_trial
from essnet.training.step_profile import PROFILED_STEPS, RANGES, WARM_UP_STEPS, StepProfile, step_range
from essnet.training.trainer import Trainer
from tests.data.fixtures import make_folder_dataset
from tests.sweep.sweeps import write_sweep
from tests.training.tiny import RecordingTracker, assert_same, tiny_mapping, tiny_trial


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all commands: making a store takes seconds."""
    return tmp_path_factory.mktemp("commands") / "runs"


def write_trial(folder: Path, **overrides: object) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_mapping(overrides)))
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code


def artifacts(output: Path, run_id: str, folder: str = "") -> set[str]:
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    return {entry.path for entry in store.client.list_artifacts(run_id, folder)}


def test_a_few_images_are_learned_by_heart(tmp_path: Path) -> None:
    config = overfit_config(
        tiny_trial(
            {
                "data.num_classes": 16,
                "data.crop_size": 64,
                "objective.name": "embedding_softmax",
                "objective.embedding_dim": 16,
                "objective.similarity": "dot",
                "optimizer": {"name": "adamw", "lr": 4e-3, "class_embeddings_lr_factor": 10.0},
                "schedule": {"name": "one_cycle"},
                "trainer.max_steps": 200,
                "trainer.batch_size": 2,
                "evaluation.every_steps": 200,
            }
        ),
        2,
    )
    trainer = Trainer(config, directory=tmp_path, adapt_trial=overfit_trial(2))
    assert len(trainer.trial.eval_data) == 2
    assert trainer.train().metrics["val/miou"] > 0.95


def test_overfitting_sees_the_same_pixels_in_training_and_evaluation(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=5, size=(40, 56))
    config = tiny_trial(
        {"data": {"name": "folder", "root": str(root), "crop_size": 32, "colour_jitter": 0.5, "num_workers": 0}}
    )
    trainer = Trainer(overfit_config(config, 3), directory=tmp_path / "run", adapt_trial=overfit_trial(3))
    evaluated = {trainer.trial.eval_data[index][0].numpy().tobytes() for index in range(3)}
    batches = trainer._batches.after(0)
    seen = {image.numpy().tobytes() for _ in range(4) for image in next(batches)[0]}
    assert seen == evaluated
    assert len(evaluated) == 3


def test_what_is_learned_by_heart_is_evaluated_as_it_was_seen() -> None:
    asked = {"evaluation.protocol": "sliding", "evaluation.scales": [0.5, 1.0], "evaluation.flip": True}
    plain, other = (overfit_config(tiny_trial(overrides), 3).evaluation for overrides in ({}, asked))
    assert other == plain


def test_more_images_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--overfit: found 12, but the training split has 11 images"):
        Trainer(overfit_config(tiny_trial(), 12), directory=tmp_path, adapt_trial=overfit_trial(12))


def test_every_run_has_a_picture_of_its_first_batch(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    trainer = Trainer(tiny_trial({"trainer.max_steps": 2}), directory=tmp_path)
    trainer.track_with(tracker)
    trainer.train()
    path = tmp_path / "first_batch.png"
    assert (path, "") in tracker.artifacts
    with Image.open(path) as picture:
        # One row for each of the 4 images, an image's pixels enlarged eightfold.
        assert picture.height > 4 * 256
        images, _ = next(trainer._batches.after(0))
        for row, column in ((0, 0), (31, 31), (7, 20)):
            assert picture.getpixel((16 + 8 * column + 4, 40 + 8 * row + 4)) == tuple(
                images[0, :, row, column].tolist()
            )


def test_the_picture_costs_no_batch_and_is_drawn_once(tmp_path: Path) -> None:
    config = tiny_trial({"evaluation.every_steps": 3})
    weights = []
    for name, drawn in (("without", True), ("with", False)):
        directory = tmp_path / name
        if drawn:
            directory.mkdir()
            (directory / "first_batch.png").write_text("there already")
        trainer = Trainer(config, directory=directory)
        trainer.train()
        weights.append(dict(trainer.trial.model.state_dict()))
    assert_same(*weights)
    assert (tmp_path / "without" / "first_batch.png").read_text() == "there already"


def test_a_profile_tells_the_parts_of_a_step_apart(tmp_path: Path) -> None:
    told: list[tuple[str, tuple[Path, ...]]] = []
    device = torch.device("cpu")
    steps = WARM_UP_STEPS + PROFILED_STEPS + 3
    recorder = StepProfile(tmp_path / "profile", device=device, done=lambda *what: told.append(what))
    config = tiny_trial({"trainer.max_steps": steps, "evaluation.every_steps": steps})
    with recorder:
        Trainer(config, directory=tmp_path, progress=lambda *_: recorder.step()).train()
    ((text, files),) = told
    assert [path.name for path in files] == ["steps.txt", "operations.txt", "trace.json"]
    assert [line.split()[0] for line in text.splitlines()[1:-1]] == list(RANGES)
    assert text.splitlines()[-1].endswith(f"over {PROFILED_STEPS} steps")
    assert files[0].read_text() == f"{text}\n"
    assert "aten::convolution" in files[1].read_text()
    events = json.loads(files[2].read_text())["traceEvents"]
    for name in RANGES:
        assert sum(event.get("name") == f"essnet/{name}" for event in events) == PROFILED_STEPS, name


def test_the_table_has_the_time_that_was_spent(tmp_path: Path) -> None:
    told: list[str] = []
    with StepProfile(tmp_path, device=torch.device("cpu"), done=lambda text, _: told.append(text)) as recorder:
        for _ in range(WARM_UP_STEPS + 4):  # ends before all are recorded
            with step_range("data"):
                time.sleep(0.02)
            with step_range("optimizer"):
                time.sleep(0.001)
            recorder.step()
    ms = {line.split()[0]: line.split()[1] for line in told[0].splitlines()}
    assert 1 <= float(ms["optimizer"]) < 20 <= float(ms["data"]) < 200
    assert "over 4 steps" in told[0]


def test_a_resumed_run_with_too_few_steps_left_is_not_profiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_trial(tmp_path, **{"trainer.max_steps": 8})
    directory = tmp_path / "runs" / "train" / "tiny"
    reached = 0

    def progress(step: int, _: object) -> None:
        nonlocal reached
        reached = step

    trial = tiny_trial({"trainer.max_steps": 8})
    Trainer(trial, directory=directory, progress=progress, should_stop=lambda: reached == 3).train()
    assert run("train", str(config), "--output", str(tmp_path / "runs"), "--resume", "--profile") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "--profile: warms up for 5 steps, but of trainer.max_steps=8 only 5 are left; "
        "profile a new run, without --resume"
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["train"]  # no run in a store


@pytest.mark.slow
def test_the_commands_profile_and_debug_log(tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_trial(
        tmp_path, **{"trainer.max_steps": 8, "trainer.log_every_steps": 4, "evaluation.every_steps": 8}
    )
    assert run("train", str(config), "--output", str(output), "--profile", "--debug", "--overfit", "2", "--json") == 0
    captured = capsys.readouterr()
    assert "backward" in captured.err
    result = json.loads(captured.out.splitlines()[-1])
    directory = Path(result["directory"])
    assert directory.name == "tiny-overfit-2"
    assert {"first_batch.png", "config.yaml", "profile"} <= artifacts(output, result["run_id"])
    assert len(artifacts(output, result["run_id"], "profile")) == 3
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    points = store.client.get_metric_history(result["run_id"], "train/loss")
    assert sorted(point.step for point in points) == list(range(1, 9))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Error detected in")  # the operation's traceback, which is what is wanted
def test_detect_anomaly_names_the_operation(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: FullSoftmaxOutput, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * 0).sqrt().sum()  # 0, but its gradient is infinity times 0

    monkeypatch.setattr(FullSoftmaxOutput, "loss", broken)
    config = write_trial(tmp_path, **{"trainer.max_steps": 3})
    assert run("train", str(config), "--output", str(output), "name=broken", "--detect-anomaly") == 1
    assert "MulBackward0" in capsys.readouterr().err
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["t.yaml", "--from-trial", "s/0"], "t.yaml: a file beside --from-trial s/0; give one of both"),
        ([], "Missing argument 'CONFIG.yaml'; or name a sweep's trial: --from-trial SWEEP/TRIAL_ID"),
        (["--from-trial", "0"], "--from-trial: found '0'; expected SWEEP/TRIAL_ID"),
        (["--from-trial", "gone/0"], "gone: no such sweep"),
        (["--profile", "tiny.yaml"], "--profile: warms up for 5 steps, but trainer.max_steps is 4"),
    ],
)
def test_wrong_commands(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_trial(tmp_path, **{"trainer.max_steps": 4})
    assert run("train", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("wanted", ["003-typo", "003-", "3-knn", "-3", "3.0"])
def test_a_number_is_taken_alone_and_a_name_in_full(
    wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(tmp_path / "s")
    state = {"name": "s", "baseline": "full", "metric": "val/miou", "mode": "max", "num_trials": 1}
    write_json(folder.path / "sweep.json", {**state, "tracking_uri": "sqlite:///s.db", "parent_run_id": None})
    for index in (0, 3):
        name = f"{index:03d}-knn"
        folder.write_record(
            TrialRecord(name, index=index, arm="knn", arm_index=0, overrides={}, point={}, seed=0, max_steps=2)
        )
        (folder.trial(name) / "config.yaml").write_text(yaml.safe_dump(tiny_mapping({})))
    for taken in ("3", "003", "003-knn"):
        assert load_sweep_trial(f"{folder.path}/{taken}", [], output=tmp_path).name == "s-003-knn"
    assert run("train", "--from-trial", f"{folder.path}/{wanted}", "--output", str(tmp_path / "runs")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"has no trial {wanted!r}; there are 000-knn, 003-knn")


@pytest.mark.slow
def test_a_trial_of_a_sweep_alone_ends_with_the_same_weights(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_sweep(tmp_path, resources={"gpus": 0, "cpus": 1})
    assert run("sweep", str(config), "--output", str(output)) == 0
    sweep = output / "tiny"
    trial = sorted((sweep / "trials").iterdir())[1]
    capsys.readouterr()

    assert run("train", "--from-trial", "tiny/1", "--output", str(output), "--json") == 0
    alone = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["directory"])
    assert alone.name == f"tiny-{trial.name}"
    for name in ("last", "best"):
        in_sweep, by_itself = (open_checkpoint(folder / "checkpoints" / name) for folder in (trial, alone))
        assert in_sweep.config.model_copy(update={"name": alone.name}) == by_itself.config
        assert_same(in_sweep.weights(), by_itself.weights())

    arguments = ["train", "--from-trial", f"{sweep}/trials/{trial.name}", "seed=5", "trainer.max_steps=2"]
    assert run(*arguments, "--output", str(output), "--json") == 0
    other = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["directory"])
    assert open_checkpoint(other / "checkpoints" / "last").config.seed == 5

    assert run("train", "--from-trial", f"{sweep}/77", "--output", str(output)) == 2
    assert f"has no trial '77'; there are {sorted((sweep / 'trials').iterdir())[0].name}" in capsys.readouterr().err
    shutil.copytree(sweep, tmp_path / "copy")
    (tmp_path / "copy" / "trials" / trial.name / "config.yaml").unlink()
    assert run("train", "--from-trial", f"{tmp_path / 'copy'}/1", "--output", str(output)) == 2
    assert "has not started yet" in capsys.readouterr().err

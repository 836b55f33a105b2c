"""What earlier versions of essnet left opens; what a newer one left is refused, with the version that is needed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from essnet import __version__
from essnet.atomic_files import read_json, write_json
from essnet.cli.app import main
from essnet.sweep import folder as sweep_folder
from essnet.sweep.folder import COMPLETED, PENDING, SweepFolder
from essnet.tracking import RunSpec, RunStore, default_uri, store
from essnet.training import checkpoint
from essnet.training.result import best_metrics
from tests.compat.examples import HERE, SWEEP, TRIAL, examples, unpack_example
from tests.negative.test_negative_table import ROOT

ENDED = "000-full"
MAX_STEPS = 150


@pytest.fixture(params=examples(), ids=lambda path: path.name)
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The output folder of an earlier version."""
    unpack_example(request.param, tmp_path / "outputs")
    return tmp_path / "outputs"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        main([str(argument) for argument in arguments])
    assert isinstance(exited.value.code, int)
    return exited.value.code


def result_of(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def metadata(weights: Path) -> dict[str, str]:
    with safe_open(weights, framework="pt") as file:
        return dict(file.metadata())


def test_the_formats_of_this_version_have_an_example(tmp_path: Path) -> None:
    newest = examples()[-1]
    unpack_example(newest, tmp_path / "outputs")
    weights = tmp_path / "outputs" / SWEEP / "trials" / ENDED / "checkpoints" / "best" / "model.safetensors"
    assert metadata(weights)["format_version"] == str(checkpoint.FORMAT_VERSION)
    state = read_json(tmp_path / "outputs" / SWEEP / "sweep.json")
    assert (state["format_version"], f"essnet-{state['essnet_version']}") == (sweep_folder.FORMAT_VERSION, newest.name)
    client = MlflowClient(default_uri(tmp_path / "outputs"))
    tags = client.get_experiment_by_name("essnet").tags
    assert tags["essnet.format_version"] == str(store.FORMAT_VERSION)
    assert tags["essnet.version"] == state["essnet_version"]


def test_the_examples_are_small() -> None:
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) < 2**20


def test_a_checkpoint_is_evaluated_to_what_was_measured(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = output / SWEEP / "trials" / ENDED
    measured = best_metrics(trial, "val/miou", "max")
    assert run("evaluate", trial / "checkpoints" / "best", "--json", "--output", tmp_path / "evaluated") == 0
    found = result_of(capsys)["metrics"]
    for name in ("val/miou", "val/loss", "val/pixel_accuracy"):
        assert found[name] == pytest.approx(measured[name], rel=1e-3, abs=1e-4)


def test_a_checkpoint_predicts(output: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 32), "red").save(tmp_path / "a.png")
    best = output / SWEEP / "trials" / TRIAL / "checkpoints" / "last"
    assert run("predict", best, tmp_path / "a.png", "--output", tmp_path / "out", "--device", "cpu") == 0
    with Image.open(tmp_path / "out" / "a.png") as labels:
        assert labels.size == (40, 32)


def test_an_interrupted_sweep_is_told_of(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", SWEEP, "--output", output, "--json") == 0
    found = result_of(capsys)
    assert (found["sweep"], found["ended"], found["num_trials"], found["finished"]) == (SWEEP, 1, 3, False)
    assert run("list", "--output", output, "--json") == 0
    assert [one["sweep"] for one in result_of(capsys)] == [SWEEP]
    assert run("logs", SWEEP, 0, "--output", output) == 0
    assert "step 150: done" in capsys.readouterr().out


def test_an_interrupted_sweep_is_reported(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", SWEEP, "--output", output, "--format", "json") == 0
    trials = {one["trial_id"]: one for one in result_of(capsys)["trials"]}
    assert trials[ENDED]["state"] == COMPLETED
    assert trials[ENDED]["steps"] == MAX_STEPS
    assert trials[TRIAL]["state"] == PENDING
    assert 0 < trials[TRIAL]["steps"] < MAX_STEPS
    assert run("report", SWEEP, "--output", output, "--format", "html") == 0
    assert ENDED in (output / SWEEP / "comparison.html").read_text(encoding="utf-8")


def test_runs_are_found_again_in_the_store(output: Path) -> None:
    opened = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    state = SweepFolder(output / SWEEP).state()
    children = {run.data.tags["essnet.trial_id"]: run for run in opened.children(state["parent_run_id"])}
    assert children.keys() == {ENDED, TRIAL}
    assert children[ENDED].info.status == "FINISHED"
    for trial_id, child in children.items():
        spec = RunSpec.load(output / SWEEP / "trials" / trial_id)
        assert spec is not None
        again = opened.find_or_make(spec.name, identity=spec.identity, tags=spec.tags, params=spec.params)
        assert again == child.info.run_id
        assert child.data.params["data.num_classes"] == "5"
        assert child.data.metrics["val/miou"] > 0


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(output: Path) -> None:
    before = read_json(output / SWEEP / "trials" / TRIAL / "progress.json")
    command = [sys.executable, str(ROOT / "launch.py"), "sweep", str(output / "sweep.yaml"), "--resume", "--json"]
    done = subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True, check=False, cwd=output, timeout=280
    )
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout.splitlines()[-1])["trials"]
    assert [(one["state"], one["steps"]) for one in trials] == [(COMPLETED, MAX_STEPS)] * 3
    log = (output / SWEEP / "trials" / TRIAL / "log.txt").read_text(encoding="utf-8")
    assert f"step {before['step']} of {MAX_STEPS}: training begins" in log
    client = MlflowClient(default_uri(output))
    for one in trials:
        steps = [point.step for point in client.get_metric_history(one["run_id"], "val/miou")]
        assert steps == list(range(25, MAX_STEPS + 1, 25))
    assert read_json(output / SWEEP / "sweep.json")["essnet_version"] == __version__


def newer_checkpoint(output: Path) -> Path:
    path = output / SWEEP / "trials" / ENDED / "checkpoints" / "best" / "model.safetensors"
    save_file(load_file(path), path, {"format_version": "2", "essnet_version": "9.8.7"})
    return path


def newer_sweep(output: Path) -> Path:
    path = output / SWEEP / "sweep.json"
    write_json(path, {**read_json(path), "format_version": 2, "essnet_version": "9.8.7"})
    return path


def newer_store(output: Path) -> Path:
    path = output / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        for key, value in (("essnet.format_version", "2"), ("essnet.version", "9.8.7")):
            changed = database.execute("UPDATE experiment_tags SET value = ? WHERE key = ?", (value, key))
            assert changed.rowcount == 1
    return path


@pytest.mark.parametrize(
    ("make", "commands"),
    [
        (newer_checkpoint, ["evaluate {best}", "predict {best} {image} --output {output}/predicted"]),
        (newer_sweep, ["status kept --output {output}", "report kept --output {output}",
                       "sweep {output}/sweep.yaml --resume --output {output}"]),
        (newer_store, ["train {output}/trial.yaml --output {output}",
                       "sweep {output}/sweep.yaml name=new --output {output}"]),
    ],
)  # fmt: skip
def test_what_is_newer_is_refused(
    make: Callable[[Path], Path], commands: list[str], output: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    shutil.copy(output / SWEEP / "trials" / ENDED / "config.yaml", output / "trial.yaml")
    path = make(output)
    names = {"output": output, "image": tmp_path / "a.png", "best": path.parent}
    before = {one for one in output.rglob("*") if one.name != "mlflow.db.lock"}
    for command in commands:
        capfd.readouterr()
        assert run(*command.format(**names).split()) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert str(path) in line
        assert line.endswith(f"has format 2, and essnet {__version__}, which is here, knows formats up to 1; "
                             "it needs essnet 9.8.7 or newer")  # fmt: skip
    assert {one for one in output.rglob("*") if one.name != "mlflow.db.lock"} == before


@pytest.mark.parametrize(
    ("revision", "words"),
    [("ffffffffffff", "its tables are of a newer MLflow than"), ("451aebb31d03", "its tables are of an older MLflow")],
)
def test_tables_of_another_mlflow_are_told(
    revision: str, words: str, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(output / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    shutil.copy(output / SWEEP / "trials" / ENDED / "config.yaml", output / "trial.yaml")
    assert run("train", output / "trial.yaml", "--output", output) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert words in line

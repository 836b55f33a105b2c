"""The real thing: real Ray, a real store, real trials, through the front door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from essnet.sweep.folder import PENDING, SweepFolder
from tests.sweep.sweeps import TINY_TRIAL, write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        str(LAUNCH),
        "sweep",
        str(folder / "sweep.yaml"),
        "--output",
        str(folder / "runs"),
        *arguments,
    ]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *arguments), capture_output=True, text=True, cwd=folder, check=False)


def result_of(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(finished.stdout.splitlines()[-1])


def tracked_runs(folder: Path) -> tuple[Run, list[Run]]:
    """Return the sweep's parent run and its children."""
    client = MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("essnet")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if r.data.tags["essnet.kind"] == "sweep"]
    assert len(parents) == 1
    children = [r for r in runs if r.data.tags["essnet.kind"] == "trial"]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parents[0].info.run_id}
    return parents[0], children


def assert_each_step_once(folder: Path, child: Run, max_steps: int) -> None:
    client = MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    steps = [point.step for point in client.get_metric_history(child.info.run_id, "train/loss")]
    assert sorted(steps) == list(range(1, max_steps + 1))


def test_a_sweep_from_start_to_comparison(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    dry = result_of(run(tmp_path, "--dry-run", "--json"))
    assert not (tmp_path / "runs").exists()
    finished = run(tmp_path, "--json")
    assert finished.returncode == 0, finished.stderr

    result = result_of(finished)
    assert set(result) >= {"sweep", "directory", "tracking_uri", "parent_run_id", "baseline", "best", "trials"}
    assert len(result["trials"]) == dry["trials"] == 5
    assert result["baseline"] == "000-full"
    for trial in result["trials"]:
        assert trial["state"] == "COMPLETED"
        assert trial["steps"] == 6
        assert 0 <= trial["metrics"]["val/miou"] <= 1
        assert trial["metrics"]["perf/loss_memory_mib"] > 0
    others = [trial for trial in result["trials"] if trial["arm"] != "full"]
    best = max(others, key=lambda trial: trial["metrics"]["val/miou"])
    assert {t["trial_id"]: t for t in others}[result["best"]]["metrics"]["val/miou"] == best["metrics"]["val/miou"]
    assert "k-nearest with d = " in finished.stderr
    assert "for the full softmax" in finished.stderr

    parent, children = tracked_runs(tmp_path)
    assert parent.info.run_id == result["parent_run_id"]
    assert {r.info.status for r in (parent, *children)} == {"FINISHED"}
    assert {r.info.run_id for r in children} == {trial["run_id"] for trial in result["trials"]}
    for child in children:
        assert child.data.tags["essnet.sweep"] == "tiny"
        assert child.data.tags["essnet.arm"] in ("full", "knn")
        assert child.data.params["data.num_classes"] == "5"
        assert child.data.params["trainer.num_threads"] == "1"
        assert {"val/miou", "val/loss", "train/lr", "perf/step_ms", "perf/peak_memory_mib"} <= set(child.data.metrics)
        assert_each_step_once(tmp_path, child, 6)
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    report = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert report == {f"report/comparison.{ending}" for ending in ("csv", "json", "png", "html")}
    assert [file.path for file in client.list_artifacts(children[0].info.run_id, "predictions")]

    # Each trial's log is its own, though workers run one trial after another.
    for trial in result["trials"]:
        log = (tmp_path / "runs" / "tiny" / "trials" / trial["trial_id"] / "log.txt").read_text()
        assert log.count("training begins") == 1
        assert log.count("val/miou ") == 3  # evaluations at steps 2, 4, 6
        assert log.splitlines()[-1].endswith("step 6: done")

    # A sweep that has ended is not run again, and is not overwritten either.
    again = run(tmp_path)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    resumed = run(tmp_path, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert result_of(resumed)["trials"] == result["trials"]
    changed = run(tmp_path, "--resume", "optimizer.lr=0.5")
    assert changed.returncode == 2
    assert "base.optimizer.lr: is 0.5" in changed.stderr

    # The report from the folder alone.
    report_command = [sys.executable, str(LAUNCH), "report", "tiny", "--output", str(tmp_path / "runs")]
    as_json = subprocess.run([*report_command, "--format", "json"], capture_output=True, text=True, check=True)
    assert json.loads(as_json.stdout)["trials"] == result["trials"]
    as_csv = subprocess.run([*report_command, "--format", "csv"], capture_output=True, text=True, check=True)
    assert len(as_csv.stdout.splitlines()) == 6


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while not list(folder.glob("runs/tiny/trials/*/checkpoints/last")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no checkpoint within 180 s"
        time.sleep(0.2)


LONG = {**TINY_TRIAL, "trainer": {**TINY_TRIAL["trainer"], "max_steps": 60}, "evaluation": {"every_steps": 5}}
SHORT_ARMS = {
    "full": {"objective.name": "full_softmax"},
    "exact": {"objective.name": "embedding_softmax", "objective.embedding_dim": {"choice": [2, 4]}},
}


def assert_whole_after_resume(folder: Path) -> None:
    # From another working directory than before.
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    resumed = subprocess.run(
        command(folder, "--resume", "--json"), capture_output=True, text=True, cwd=elsewhere, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    trials = result_of(resumed)["trials"]
    assert [(trial["state"], trial["steps"]) for trial in trials] == [("COMPLETED", 60)] * 3
    parent, children = tracked_runs(folder)
    assert Counter(r.data.tags["essnet.trial_id"] for r in children) == {trial["trial_id"]: 1 for trial in trials}
    assert {r.info.status for r in (parent, *children)} == {"FINISHED"}
    for child in children:
        assert_each_step_once(folder, child, 60)


def test_the_driver_killed_in_the_middle(tmp_path: Path) -> None:
    write_sweep(tmp_path, base=LONG, arms=SHORT_ARMS)
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        wait_for_checkpoint(tmp_path, driver)
        driver.kill()
    assert_whole_after_resume(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed(tmp_path: Path, number: signal.Signals) -> None:
    write_sweep(tmp_path, base=LONG, arms=SHORT_ARMS)
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        wait_for_checkpoint(tmp_path, driver)
        os.kill(driver.pid, number)
        text, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130, text
    assert "go on with --resume" in text
    parent, children = tracked_runs(tmp_path)
    assert parent.info.status == "KILLED"
    assert {r.info.status for r in children} <= {"KILLED", "FINISHED"}
    assert_whole_after_resume(tmp_path)


def test_a_second_signal_ends_at_once_and_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    write_sweep(tmp_path, base=LONG, arms=SHORT_ARMS)
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        wait_for_checkpoint(tmp_path, driver)
        os.kill(driver.pid, signal.SIGTERM)
        time.sleep(0.5)  # two at the same moment are one
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(driver.pid, signal.SIGTERM)
        text, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130, text
    assert_whole_after_resume(tmp_path)


def session_processes(leader: int, name: str) -> list[int]:
    """Processes of this name in the session of a process that leads one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            session = (folder / "stat").read_text().rpartition(")")[2].split()[3]
            if int(session) == leader and (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
    return found


@pytest.mark.timeout(900)  # Ray takes its time to give up, minutes on a loaded machine
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds Ray's process in /proc")
def test_a_sweep_whose_ray_is_killed_ends(tmp_path: Path) -> None:
    """Retries are left, but no machine to run them on: Ray Tune alone would wait for ever."""
    endless = {**LONG, "trainer": {**LONG["trainer"], "max_steps": 100_000}}
    write_sweep(tmp_path, base=endless, arms=SHORT_ARMS, failure={"max_retries": 100})
    with subprocess.Popen(
        command(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as driver:  # fmt: skip
        wait_for_checkpoint(tmp_path, driver)
        (raylet,) = session_processes(driver.pid, "raylet")
        os.kill(raylet, signal.SIGKILL)
        text, _ = driver.communicate(timeout=600)
    assert driver.returncode == 1, text
    assert "raylet, is gone; go on with --resume" in text
    assert {record.state for record in SweepFolder(tmp_path / "runs" / "tiny").records()} == {PENDING}


def run_and_kill_a_worker(folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Kill a trial's process once there is a checkpoint; return exit code, trials, and which trial it was."""
    with subprocess.Popen(
        command(folder, "--json"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        wait_for_checkpoint(folder, driver)
        (link, *_) = folder.glob("runs/tiny/trials/*/checkpoints/last")
        killed = link.parent.parent
        os.kill(json.loads((killed / "progress.json").read_text())["pid"], signal.SIGKILL)
        text, _ = driver.communicate(timeout=300)
    return driver.returncode, json.loads(text.splitlines()[-1])["trials"], killed.name


def test_a_killed_worker_is_retried_from_its_checkpoint(tmp_path: Path) -> None:
    write_sweep(tmp_path, base=LONG, arms=SHORT_ARMS, failure={"max_retries": 1})
    code, trials, killed = run_and_kill_a_worker(tmp_path)
    assert code == 0
    lost = [{"kind": "lost_worker", "message": "the worker process died"}]
    earlier = {trial["trial_id"]: trial["earlier_failures"] for trial in trials}
    assert earlier == {trial: lost if trial == killed else [] for trial in earlier}
    assert [(trial["state"], trial["steps"]) for trial in trials] == [("COMPLETED", 60)] * 3
    _, children = tracked_runs(tmp_path)
    assert Counter(r.data.tags["essnet.trial_id"] for r in children) == {trial["trial_id"]: 1 for trial in trials}
    for child in children:
        assert_each_step_once(tmp_path, child, 60)


def test_a_killed_worker_without_retries_has_failed_and_is_resumed(tmp_path: Path) -> None:
    write_sweep(tmp_path, base=LONG, arms=SHORT_ARMS, failure={"max_retries": 0})
    code, trials, killed = run_and_kill_a_worker(tmp_path)
    assert code == 1
    (failed,) = [trial for trial in trials if trial["state"] == "FAILED"]
    assert (failed["trial_id"], failed["failure"]) == (killed, "lost_worker")
    assert_whole_after_resume(tmp_path)


def test_optuna_with_asha_and_a_trial_that_fails(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "exact": {"objective.embedding_dim": {"int": [2, 16], "log": True}},
        # Its loss overflows within a few steps.
        "wild": {"optimizer": {"name": "sgd", "lr": 1e30}, "objective.name": "full_softmax"},
    }
    write_sweep(
        tmp_path,
        arms=arms,
        search={"algorithm": "optuna", "num_trials": 4, "seed": 3},
        scheduler={"name": "asha", "reduction_factor": 2},
    )
    finished = run(tmp_path, "--json")
    assert finished.returncode == 1, finished.stderr
    trials = {trial["trial_id"]: trial for trial in result_of(finished)["trials"]}
    assert len(trials) == 6
    assert trials["000-full"]["state"] == "COMPLETED"
    (wild,) = [trial for trial in trials.values() if trial["arm"] == "wild"]
    assert wild["state"] == "FAILED"
    assert "the loss is" in wild["error"]
    assert f"failed: {wild['trial_id']}: non_finite: step" in finished.stderr
    searched = [trial for trial in trials.values() if trial["arm"] == "exact"]
    assert {trial["state"] for trial in searched} <= {"COMPLETED", "STOPPED"}
    assert all(2 <= trial["overrides"]["objective.embedding_dim"] <= 16 for trial in searched)
    parent, children = tracked_runs(tmp_path)
    assert parent.info.status == "FAILED"
    assert Counter((r.data.tags["essnet.arm"], r.info.status) for r in children) == {
        ("full", "FINISHED"): 1,
        ("exact", "FINISHED"): 4,
        ("wild", "FAILED"): 1,
    }

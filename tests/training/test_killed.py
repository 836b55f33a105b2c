"""Runs that are killed, while they write a checkpoint or at random, and what comes of them in the end."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from essnet.tracking import RunStore, default_uri
from essnet.training import checkpoint
from essnet.training.checkpoint import open_checkpoint
from essnet.training.result import read_history
from essnet.training.trainer import Trainer
from tests.training.tiny import assert_same, tiny_mapping, tiny_trial

KILLS = 20
STEPS = 240
OPTIONS = {
    "objective.name": "sampled_softmax",
    "optimizer.name": "adamw",
    "trainer.max_steps": STEPS,
    "trainer.ema_decay": 0.9,
    "trainer.keep_checkpoints": 2,
    "trainer.checkpoint_every_steps": 4,
    "evaluation.every_steps": 40,
}

pytestmark = pytest.mark.slow


MOMENTS: dict[str, tuple[Any, str, int, int]] = {
    # moment: what is called then, how often it was called before, and the step that the run goes on from
    "before the weights": (checkpoint, "save_tensors", 0, 2),
    "before the state": (torch, "save", 0, 2),
    "before it is on disk": (os, "fsync", 0, 2),
    "before it has its name": (Path, "rename", 0, 2),
    "before it is the last": (Path, "replace", 0, 2),
    "before the older one is hidden": (Path, "rename", 1, 4),
    "before the older one is removed": (shutil, "rmtree", 0, 4),
}
WITHOUT_EVALUATIONS = {"evaluation.every_steps": 6, "trainer.checkpoint_every_steps": 2}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """A server that has imported what takes seconds, and each process is a fork of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["essnet.cli.app", "essnet.tracking", "essnet.training.trainer", "mlflow.store.tracking"]
    )
    return context


def die_in_the_second_checkpoint(moment: str, directory: str) -> None:
    """Train, in a process of its own, whose thread that writes checkpoints kills it."""
    owner, name, calls_before, _ = MOMENTS[moment]
    original, calls = getattr(owner, name), 0

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        if threading.current_thread().name.startswith("checkpoint") and not options.get("ignore_errors"):
            calls += 1
            if calls > calls_before:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    def progress(step: int, _: Any) -> None:
        if step == 3:
            trainer._writer.wait()  # for the first checkpoint
            setattr(owner, name, deadly)

    trainer = Trainer(tiny_trial(WITHOUT_EVALUATIONS), directory=Path(directory), progress=progress)
    trainer.train()


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("alone")
    Trainer(tiny_trial(WITHOUT_EVALUATIONS), directory=directory).train()
    return directory / "checkpoints" / "last"


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_it_writes_a_checkpoint(
    tmp_path: Path, processes: ForkServerContext, left_alone: Path, moment: str
) -> None:
    process = processes.Process(target=die_in_the_second_checkpoint, args=(moment, str(tmp_path)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    checkpoints, step = tmp_path / "checkpoints", MOMENTS[moment][-1]
    assert open_checkpoint(checkpoints / "last").load().trainer_state["step"] == step
    resumed = Trainer(tiny_trial(WITHOUT_EVALUATIONS), directory=tmp_path, resume=True)
    assert resumed.step == step
    resumed.train()
    assert {path.name for path in checkpoints.iterdir()} == {"step-000006", "last", "best"}
    one, other = open_checkpoint(checkpoints / "last").load(), open_checkpoint(left_alone).load()
    assert_same(one.weights, other.weights)
    states = [{**loaded.trainer_state, "performance": None} for loaded in (one, other)]
    assert_same(*states)


def train(arguments: list[str], log: str) -> None:
    """The command, in a process of its own."""
    from essnet.cli.app import main

    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["launch.py", *arguments]
    main(arguments)


def steps_logged(output: Path, name: str, key: str) -> list[int]:
    store = RunStore(default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    (run,) = store.client.search_runs([store.experiment_id], filter_string=f"attributes.run_name = '{name}'")
    assert run.info.status == "FINISHED"
    return [point.step for point in store.client.get_metric_history(run.info.run_id, key)]


@pytest.mark.timeout(600)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_left_alone(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    output = tmp_path / "runs"
    for name in ("warm-up", "whole", "killed"):
        mapping = tiny_mapping({**OPTIONS, "name": name})
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(mapping))

    def start(name: str, *more: str) -> ForkServerProcess:
        arguments = ["train", str(tmp_path / f"{name}.yaml"), "--output", str(output), *more]
        process = processes.Process(target=train, args=(arguments, str(tmp_path / f"{name}.log")))
        process.start()
        return process

    start("warm-up", "--fast-dev-run").join()  # the server's imports, and making the store
    begin = time.monotonic()
    whole = start("whole")
    first = output / "train" / "whole" / "checkpoints" / "last"
    wait(whole, first.exists)
    until_first = time.monotonic() - begin
    whole.join()
    assert whole.exitcode == 0, (tmp_path / "whole.log").read_text()

    rng = random.Random(0)
    directory = output / "train" / "killed"
    last = directory / "checkpoints" / "last"
    killed_at = []
    for kill in range(KILLS):
        before = os.readlink(last) if last.exists() else None
        process = start("killed", *(["--resume"] if directory.exists() else []))
        if kill % 2:  # soon after it wrote a checkpoint
            wait(process, lambda before=before: last.exists() and os.readlink(last) != before)
            time.sleep(rng.uniform(0, 0.1))
        else:  # anywhere, before the first step too
            time.sleep(rng.uniform(0, until_first))
        assert process.exitcode is None, (tmp_path / "killed.log").read_text()
        process.kill()
        process.join()
        killed_at.append(os.readlink(last) if last.exists() else None)
    assert len(set(killed_at)) > KILLS // 2  # it went on in between
    process = start("killed", "--resume")
    process.join()
    assert process.exitcode == 0, (tmp_path / "killed.log").read_text()

    for link in ("last", "best"):
        one, other = (open_checkpoint(output / "train" / n / "checkpoints" / link) for n in ("whole", "killed"))
        assert one.path.resolve().name == other.path.resolve().name
        assert_same(one.weights(), other.weights())
        states = [opened.trainer_state() for opened in (one, other)]
        for state in states:
            del state["performance"]
        assert_same(*states)
    for key, every in {"train/loss": 1, "val/miou": 40}.items():
        expected = Counter(range(every, STEPS + 1, every))
        assert Counter(steps_logged(output, "whole", key)) == expected
        assert Counter(steps_logged(output, "killed", key)) == expected
    assert [entry["step"] for entry in read_history(directory / "history.jsonl")] == list(range(40, STEPS + 1, 40))


def wait(process: ForkServerProcess, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.exitcode is None
        assert time.monotonic() < deadline
        time.sleep(0.005)

"""A `train` command that is killed again and again, and what comes of it in the end."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import yaml

from essnet.tracking import RunStore, default_uri
from essnet.training import open_checkpoint, read_history
from tests.training.tiny import assert_same, tiny_mapping

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
def test_a_run_killed_at_random_moments_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    # The command's imports cost seconds: the server of these processes has them, and each is a fork of it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["essnet.cli.app", "essnet.tracking", "essnet.training", "mlflow.store.tracking"])
    output = tmp_path / "runs"
    for name in ("warm-up", "whole", "killed"):
        mapping = tiny_mapping({**OPTIONS, "name": name})
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(mapping))

    def start(name: str, *more: str) -> ForkServerProcess:
        arguments = ["train", str(tmp_path / f"{name}.yaml"), "--output", str(output), *more]
        process = context.Process(target=train, args=(arguments, str(tmp_path / f"{name}.log")))
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

    for checkpoint in ("last", "best"):
        one, other = (open_checkpoint(output / "train" / n / "checkpoints" / checkpoint) for n in ("whole", "killed"))
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

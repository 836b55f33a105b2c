"""Real trials beside a server that is killed and started again, and whose port does not answer for a while."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.tracking_server import TrackingServer
from essnet.config import TrialConfig, trial_from_mapping
from essnet.tracking import MlflowTracker, RunSpec, RunStore
from essnet.training.result import read_history
from essnet.training.trainer import Trainer

_EXPERIMENT = "outages"
_UP_SECONDS = 3.0
"""How long a server that was started again is left alone."""
_END_SECONDS = 120.0
_FREE_SECONDS = 20.0
"""How long a server that was killed may hold its port."""


def measure_outages(
    server: TrackingServer, folder: Path, *, rounds: int, kills: int, hang_seconds: float
) -> dict[str, Any]:
    """Return the ratio of each round's seconds a step, the steps of each, and what is not there once, a line each."""
    store = RunStore(server.uri, _EXPERIMENT, artifact_root=folder)
    TrackedTrial(store, folder / "warm-up", stop_after=lambda step: step >= 5)
    ratios, steps, problems = [], [], []
    for number in range(rounds):
        over = threading.Event()
        outages = threading.Thread(target=_disturb, args=(server, kills, hang_seconds, over))
        outages.start()
        try:
            disturbed = TrackedTrial(
                store, folder / f"disturbed-{number}", stop_after=lambda step, end=over: end.is_set()
            )
        finally:
            outages.join()
        calm = TrackedTrial(
            store, folder / f"calm-{number}", stop_after=lambda step, last=disturbed.steps: step >= last
        )
        ratios.append(disturbed.seconds / calm.seconds)
        steps.append(calm.steps)
        problems += [*disturbed.problems(), *calm.problems()]
    return {"ratios": ratios, "steps": steps, "kills": kills, "hang_seconds": hang_seconds, "problems": problems}


class TrackedTrial:
    """A real trial that was trained until `stop_after` said so of a step, and how long its steps took in all."""

    def __init__(self, store: RunStore, directory: Path, *, stop_after: Callable[[int], bool]) -> None:
        self._store = store
        self._directory = directory
        self._logged: list[int] = []
        identity = {"essnet.trial_id": uuid.uuid4().hex}
        spec = RunSpec(store.uri, _EXPERIMENT, str(store.artifact_root), name=directory.name, identity=identity)
        trainer = Trainer(
            _config(),
            directory=directory,
            progress=lambda step, metrics: self._logged.append(step),
            should_stop=lambda: stop_after(trainer.step),
        )
        tracker = MlflowTracker(directory, spec)
        trainer.track_with(tracker)
        began = time.perf_counter()
        self.steps = trainer.train().steps
        self.seconds = time.perf_counter() - began
        tracker.end("FINISHED")
        self._is_delivered = tracker.close(wait_seconds=_END_SECONDS)
        self._run_id = tracker.run_id

    def problems(self) -> list[str]:
        """Return what MLflow does not have once, a line each."""
        if not self._is_delivered or self._run_id is None:
            return [f"{self._directory.name}: not delivered in {_END_SECONDS:.0f} s"]
        evaluated = [entry["step"] for entry in read_history(self._directory / "history.jsonl")]
        wanted: Mapping[str, list[int]] = {
            **dict.fromkeys(("train/loss", "train/lr", "perf/step_ms"), self._logged),
            **dict.fromkeys(("val/miou", "val/loss"), evaluated),
        }
        found = []
        for key, steps in wanted.items():
            history = self._store.client.get_metric_history(self._run_id, key)
            times = Counter(point.step for point in history)
            if times != Counter(steps):
                twice = sum(number > 1 for number in times.values())
                found.append(f"{self._directory.name}: {key}: {len(times)} of {len(steps)} steps, {twice} twice")
        return found


def _disturb(server: TrackingServer, kills: int, hang_seconds: float, over: threading.Event) -> None:
    try:
        for number in range(kills):
            server.kill()
            if number == kills // 2 and hang_seconds:
                _hang(server.port, hang_seconds)
            server.start()
            time.sleep(_UP_SECONDS)
    finally:
        over.set()


def _hang(port: int, seconds: float) -> None:
    """Take connections at a port for so long, and never answer."""
    deadline = time.monotonic() + _FREE_SECONDS
    while True:
        try:
            listener = socket.create_server(("127.0.0.1", port), backlog=128)
            break
        except OSError:  # the server that was killed is not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    with listener:
        time.sleep(seconds)


def _config() -> TrialConfig:
    mapping = {
        "name": "outages",
        "data": {"name": "textures", "num_classes": 64, "crop_size": 64, "val_images": 32},
        "model": {"encoder": "tu-test_resnet"},
        "objective": {"name": "embedding_softmax"},
        "optimizer": {"name": "adamw", "lr": 0.004},
        "trainer": {
            "max_steps": 1_000_000,
            "batch_size": 8,
            "log_every_steps": 1,
            "device": "cpu",
            "num_threads": 1,
        },
        "evaluation": {"every_steps": 100, "num_pictures": 4},
    }
    return trial_from_mapping(mapping, (), source="tracking_outages.py")

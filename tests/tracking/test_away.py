"""A server that refuses, restarts, vanishes or never answers: training goes on, and everything is there once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from essnet.tracking import MlflowTracker, RunStore, deliver_rest, is_delivered, tracker
from essnet.tracking.entries import status_entry
from tests.tracking.runs import close, log_steps, points, rising, run_id_of, spec_of, wait_until, waiting
from tests.tracking.server import Server
from tests.tracking.unreliable import FAIL, FORWARD, HANG, SWALLOW, Proxy, proxy_to

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setattr(tracker, "_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(tracker, "_LONGEST_PAUSE_SECONDS", 0.5)


@pytest.fixture
def store(server: Server, experiment: str, tmp_path: Path) -> RunStore:
    return RunStore(server.uri, experiment, artifact_root=tmp_path)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with proxy_to(server.uri) as proxy:
        yield proxy


def assert_all_there_once(store: RunStore, directory: Path, last: int) -> None:
    assert points(store) == rising(*range(1, last + 1))
    assert is_delivered(directory)


@pytest.mark.parametrize("mode", [HANG, SWALLOW, FAIL])
def test_training_never_waits_and_everything_arrives_once(
    store: RunStore, proxy: Proxy, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    log_steps(tracked, 1)
    wait_until(lambda: not waiting_for(store, 1), "the first point is there")

    proxy.mode = mode
    before = proxy.requests
    for step in range(2, 40):
        log_steps(tracked, step)
        tracked.log_artifact(tmp_path / "picture.png", "predictions")
        tracked.flush()
    wait_until(lambda: proxy.requests > before + 1, "it was tried again")
    proxy.mode = FORWARD
    wait_until(lambda: not waiting_for(store, 39), "the server has the rest")
    tracked.end("FINISHED")
    close(tracked)
    assert_all_there_once(store, tmp_path, 39)
    run_id = run_id_of(store)
    assert store.client.get_run(run_id).info.status == "FINISHED"
    assert [file.path for file in store.client.list_artifacts(run_id, "predictions")] == ["predictions/picture.png"]


def waiting_for(store: RunStore, step: int) -> bool:
    """Return whether the server does not have a step yet."""
    runs = store.client.search_runs([store.experiment_id])
    return not runs or store.last_steps(runs[0].info.run_id).get("train/loss", 0) < step


@pytest.mark.parametrize("mode", [HANG, SWALLOW, FAIL])
def test_a_trial_starts_and_ends_without_its_server(
    store: RunStore, proxy: Proxy, tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.mode = mode
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    log_steps(tracked, *range(1, 11))
    tracked.end("FINISHED")
    started = time.monotonic()
    assert not tracked.close(wait_seconds=1.0)
    assert time.monotonic() - started < 30, "the end of a trial waits for as long as it was told, with some room"
    assert tracked.run_id is None
    assert waiting(tmp_path) == 12
    assert "MLflow does not answer" in caplog.text or mode != FAIL

    proxy.mode = FORWARD
    resumed = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    log_steps(resumed, *range(6, 16))  # from a checkpoint of step 5
    resumed.end("FINISHED")
    close(resumed)
    assert_all_there_once(store, tmp_path, 15)
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"


def test_nothing_but_the_end_waits_and_that_for_as_long_as_it_is_told(
    store: RunStore, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")  # whoever waits for the server is not done with this test
    proxy.mode = HANG
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    wait_until(lambda: proxy.requests > 0, "a request hangs")
    log_steps(tracked, *range(1, 100))
    tracked.log_artifact(tmp_path / "picture.png", "predictions")
    tracked.describe("# Nothing")
    tracked.flush()
    tracked.end("FINISHED")
    assert not tracked.close(wait_seconds=0.1)


def test_a_request_that_arrived_though_its_answer_did_not(store: RunStore, proxy: Proxy, tmp_path: Path) -> None:
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    wait_until(lambda: tracked.run_id is not None, "the run is known")
    wait_until(lambda: store.client.get_run(run_id_of(store)).info.status == "RUNNING", "it runs")
    proxy.mode, proxy.swallow_only = SWALLOW, "log-batch"
    log_steps(tracked, *range(1, 6))
    wait_until(lambda: bool(proxy.swallowed), "the points are sent")
    wait_until(lambda: not waiting_for(store, 5), "the points have arrived")
    log_steps(tracked, *range(6, 9))
    proxy.mode = FORWARD
    close(tracked)
    assert_all_there_once(store, tmp_path, 8)


def test_a_run_that_was_made_though_the_answer_did_not_come(store: RunStore, proxy: Proxy, tmp_path: Path) -> None:
    proxy.mode, proxy.swallow_only = SWALLOW, "runs/create"
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    log_steps(tracked, *range(1, 6))
    wait_until(lambda: bool(proxy.swallowed), "the run is made")
    proxy.mode = FORWARD
    close(tracked)
    assert proxy.swallowed == ["/api/2.0/mlflow/runs/create"]
    assert_all_there_once(store, tmp_path, 5)


def test_a_port_where_nobody_is(server: Server, store: RunStore, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=uri))
    log_steps(tracked, 1, 2)
    tracked.end("FINISHED")
    assert not tracked.close(wait_seconds=1.0)
    wait_until(lambda: not any(thread.name == "mlflow" for thread in threading.enumerate()), "the thread ends")
    spec_of(store, uri=server.uri).save(tmp_path)  # the same server, elsewhere
    deliver_rest(tmp_path)
    assert_all_there_once(store, tmp_path, 2)


def test_a_server_that_is_killed_and_comes_back_again_and_again(
    server: Server, store: RunStore, tmp_path: Path
) -> None:
    tracked = MlflowTracker(tmp_path, spec_of(store))
    step = 0
    for _ in range(3):
        for _ in range(5):
            step += 1
            log_steps(tracked, step)
        tracked.flush()
        server.stop()
        for _ in range(5):
            step += 1
            log_steps(tracked, step)
        server.start()
    tracked.end("FINISHED")
    close(tracked)
    assert_all_there_once(store, tmp_path, step)
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"


def test_what_a_trial_leaves_is_delivered_by_whoever_can(store: RunStore, proxy: Proxy, tmp_path: Path) -> None:
    proxy.mode = FAIL
    tracked = MlflowTracker(tmp_path, spec_of(store, uri=proxy.uri))
    log_steps(tracked, *range(1, 11))
    assert not tracked.close(wait_seconds=0.5)
    wait_until(lambda: not any(thread.name == "mlflow" for thread in threading.enumerate()), "the thread ends")
    before = waiting(tmp_path)
    for _ in range(3):
        with pytest.raises(Exception, match=r"out of order|500|not answer"):
            deliver_rest(tmp_path, last=[status_entry("FINISHED")])
    assert waiting(tmp_path) == before, "nothing is added again and again while the server is away"
    proxy.mode = FORWARD
    deliver_rest(tmp_path, last=[status_entry("FINISHED")])
    assert_all_there_once(store, tmp_path, 10)
    assert store.client.get_run(run_id_of(store)).info.status == "FINISHED"

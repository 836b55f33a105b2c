"""What tracking costs training: beside a server that answers, and beside one that is killed again and again.

    python benchmarks/tracking.py --json tracking.json
    python benchmarks/tracking.py --only outages --rounds 1 --kills 10 --hang 120

`overhead`: rounds of a bare loop whose step computes for `--step-ms`, and of the same loop with a tracker, in turns.
Each step logs 20 metrics, each 100th a picture of 100 kB, and asks for delivery, as a checkpoint does. The ratio of the
times of a round is of the loops alone; how long a tracker takes at its end is told beside it.

`outages`: real trials, evaluations and checkpoints included, in turns undisturbed and while the server is killed and
started again `--kills` times and its port takes connections without answering for `--hang` seconds. Both take the same
number of steps: as many as there is time for until the server has had it all. Then every point has to be there once.

A server that starts needs a core for itself: where there is none, it takes time from training, whoever tracks.
`--check` ends with 1 above the ratios that are aimed at, 1.02 and 1.03, or if a point is not there once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import torch

from benchmarks.measurement import percentiles
from benchmarks.records import environment
from benchmarks.sessions import take_signals
from benchmarks.tracking_outages import measure_outages
from benchmarks.tracking_server import TrackingServer
from essnet.atomic_files import write_json
from essnet.tracking import MlflowTracker, RunSpec, RunStore

LARGEST_OVERHEAD, LARGEST_WITH_OUTAGES = 1.02, 1.03
_METRICS = 20
_ARTIFACT_EVERY = 100
_ARTIFACT_BYTES = 100_000
_END_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print the figures, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("overhead", "outages"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step-ms", type=float, default=50.0)
    parser.add_argument("--steps", type=int, default=200, help="of each loop in a round of overhead")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--hang", type=float, default=10.0, help="seconds that the port does not answer")
    parser.add_argument("--check", action="store_true", help="end with 1 where a figure is not as it is aimed at")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result: dict[str, Any] = {"environment": environment(torch.device("cpu"), threads=1)}
    with tempfile.TemporaryDirectory() as scratch:
        server = TrackingServer(Path(scratch) / "server")
        try:
            server.start()
            if options.only != "outages":
                result["overhead"] = measure_overhead(
                    server.uri, Path(scratch), rounds=options.rounds, steps=options.steps, step_ms=options.step_ms
                )
                print(_line("tracked / bare", result["overhead"]["ratio"]), flush=True)
                print(f"a tracker's end: {result['overhead']['end_seconds']['p50']:.2f} s", flush=True)
            if options.only != "overhead":
                result["outages"] = measure_outages(
                    server, Path(scratch), rounds=options.rounds, kills=options.kills, hang_seconds=options.hang
                )
                result["outages"]["ratio"] = percentiles(result["outages"]["ratios"])
                print(_line("with outages / undisturbed", result["outages"]["ratio"]))
                print("\n".join(result["outages"]["problems"]) or "every point is there once")
        finally:
            server.kill()
    if options.json is not None:
        write_json(options.json, result)
    return 1 if options.check and not _is_as_aimed_at(result) else 0


def measure_overhead(uri: str, folder: Path, *, rounds: int, steps: int, step_ms: float) -> dict[str, Any]:
    """Return the ratio of each round's times, its percentiles, and the seconds of a tracker's end."""
    RunStore(uri, "overhead", artifact_root=folder)  # libraries are loaded, the experiment is there
    picture = folder / "picture.png"
    picture.write_bytes(bytes(_ARTIFACT_BYTES))
    compute = step_of(step_ms / 1000)
    ratios, ends = [], []
    for number in range(rounds):
        seconds = {}
        for name in ("tracked", "bare") if number % 2 else ("bare", "tracked"):
            if name == "bare":
                seconds[name] = _loop(compute, steps, after_step=lambda step: None)
                continue
            identity = {"essnet.trial_id": uuid.uuid4().hex}
            spec = RunSpec(uri, "overhead", str(folder), name=f"round {number}", identity=identity)
            tracker = MlflowTracker(folder / f"round {number}", spec)
            seconds[name] = _loop(compute, steps, after_step=lambda step, to=tracker: _track(to, step, picture))
            began = time.perf_counter()
            tracker.end("FINISHED")
            if not tracker.close(wait_seconds=_END_SECONDS):  # before the next loop: it would go on beside it
                raise SystemExit(f"MLflow has not taken a run of {steps} steps in {_END_SECONDS:.0f} s")
            ends.append(time.perf_counter() - began)
        ratios.append(seconds["tracked"] / seconds["bare"])
    return {"ratios": ratios, "ratio": percentiles(ratios), "end_seconds": percentiles(ends)}


def step_of(seconds: float) -> Callable[[], None]:
    """Return a step that computes for so long, in many small operations as a network has them."""
    rows = torch.randn(192, 192)

    def multiply(times: int) -> None:
        product = rows
        for _ in range(times):
            product = torch.relu(product @ rows) * 1e-3

    multiply(200)
    began = time.perf_counter()
    multiply(1000)
    times = max(1, round(1000 * seconds / (time.perf_counter() - began)))
    return lambda: multiply(times)


def _loop(compute: Callable[[], None], steps: int, *, after_step: Callable[[int], None]) -> float:
    began = time.perf_counter()
    for step in range(1, steps + 1):
        compute()
        after_step(step)
    return time.perf_counter() - began


def _track(tracker: MlflowTracker, step: int, picture: Path) -> None:
    tracker.log(step, {f"train/metric_{index}": step + index / 7 for index in range(_METRICS)})
    if step % _ARTIFACT_EVERY == 0:
        tracker.log_artifact(picture, f"predictions/{step}")
        tracker.flush()


def _is_as_aimed_at(result: dict[str, Any]) -> bool:
    overhead, outages = result.get("overhead"), result.get("outages")
    if overhead is not None and overhead["ratio"]["p50"] > LARGEST_OVERHEAD:
        return False
    return outages is None or (outages["ratio"]["p50"] <= LARGEST_WITH_OUTAGES and not outages["problems"])


def _line(what: str, ratio: dict[str, float]) -> str:
    return f"{what}: {ratio['p50']:.3f} (p20 {ratio['p20']:.3f}, p80 {ratio['p80']:.3f})"


if __name__ == "__main__":
    take_signals()
    sys.exit(main())

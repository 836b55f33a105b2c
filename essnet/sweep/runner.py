"""Running a sweep on Ray Tune, and going on with one that was interrupted.

Ray schedules; the state is ours (`essnet.sweep.folder`). A sweep is resumed by handing Ray the trials that have not
ended: nothing is unpickled, and no trial that ended is run again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

# Before ray is imported: it reads these once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# A trial that fails before its first evaluation has no metric to report; that is no reason to end the sweep.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
# Ray's own files of results, three for each trial: nobody reads them, and they took a tenth of the driver's time.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import ray
from ray import tune

from essnet.config import Sweep
from essnet.sweep.callback import SweepCallback
from essnet.sweep.cluster import WORKERS_ENVIRONMENT, join_cluster
from essnet.sweep.folder import ENDED, PENDING, RUNNING, STOPPED, SweepFolder
from essnet.sweep.interrupted import Interrupted, InterruptedCallback
from essnet.sweep.measured_packing import measure_packing
from essnet.sweep.own_ray import own_ray
from essnet.sweep.packing import unpacked
from essnet.sweep.parent_run import start_parent
from essnet.sweep.planned_search import PlannedSearch
from essnet.sweep.ray_watch import RayWatch
from essnet.sweep.resources import Placement
from essnet.sweep.scheduler import build_scheduler, stopped_trials
from essnet.sweep.stored_sweep import StoredSweep
from essnet.sweep.sweep_tracking import track_sweep
from essnet.sweep.trainable import run_trial
from essnet.sweep.trial_queue import TrialQueue
from essnet.tracking import RunStore


def run_sweep(
    sweep: Sweep,
    folder: SweepFolder,
    *,
    store: RunStore,
    placement: Placement,
    cache_dir: Path,
    say: Callable[[str], None],
    address: str | None = None,
    stored: StoredSweep | None = None,
    resume_command: str | None = None,
) -> None:
    """Run all trials of a sweep that have not ended yet; return when they have, or when interrupted by SIGINT.

    The folder's records say how each trial ended, and the parent run is left RUNNING for the caller to end.
    `address` is that of the Ray cluster to run on, which goes on afterwards; None: this machine.
    `stored` is where the sweep is kept, as its `storage` says, while this runs.
    `resume_command` is what a person types to go on with the sweep.
    `say` tells people, in a sentence, how far measuring is and what came of it, where packing is measured.
    """
    _settle(folder)
    _note_stopped(folder)
    parent_run_id = start_parent(sweep, folder, store, resume_command=resume_command)
    folder.note(added_trials=sweep.added_trials)
    tracking = {
        "uri": store.uri,
        "experiment": store.experiment,
        "artifact_root": str(store.artifact_root.absolute()),
        "parent_run_id": parent_run_id,
        "sweep": sweep.config.name,
        "compared": sorted({path for arm in sweep.arms for path in (*arm.fixed, *arm.spaces)}),
    }
    sweep_id = folder.state()["sweep_id"]
    task = {
        "sweep_id": sweep_id,
        "cache_dir": str(cache_dir.absolute()),
        "tracking": tracking,
        "sweep_directory": str(folder.path.absolute()),
        "code": sweep.code,
        "code_folder": str(Path.cwd()),
        "storage": stored.task() if stored is not None else None,
    }
    queue = TrialQueue(sweep, folder)
    if queue.is_done():
        _note_total(folder)
        return
    with ExitStack() as stack:  # whatever the disk says, each of these is done, the last one first
        stack.callback(_settle, folder)
        if address is None:
            os.environ.update(WORKERS_ENVIRONMENT)  # workers here inherit it
            stack.enter_context(own_ray(placement))
        else:
            join_cluster(address)
            stack.callback(ray.shutdown)
        Interrupted(sweep_id).forget()
        stack.callback(queue.note_time, at_once=True)
        with _signals_of_a_sweep(), track_sweep(folder):
            packing = unpacked(placement)
            if sweep.config.resources.packing == "measured":
                packing = measure_packing(
                    sweep,
                    placement,
                    folder=folder,
                    cache_dir=cache_dir if stored is None else None,  # a node may not have it
                    progress=lambda place, number: say(f"measuring {place} of {number} kinds of trials"),
                )
                say(packing.describe())
            searcher = PlannedSearch(sweep, folder, queue, task=task, packing=packing, stored=stored)
            interruption = InterruptedCallback(sweep_id)
            callbacks: list[tune.Callback] = [
                SweepCallback(folder.path.absolute(), sweep_id=sweep_id, storage=sweep.config.storage),
                interruption,
            ]
            if address is None:
                callbacks.append(RayWatch())
            try:
                _build_tuner(sweep, folder, searcher, callbacks, concurrent=packing.concurrent).fit()
            except KeyboardInterrupt:
                if not interruption.gave_up:
                    raise
                # What still runs ends with Ray, and goes on from its last checkpoint.
        if queue.is_done():
            _note_total(folder)


def _build_tuner(
    sweep: Sweep, folder: SweepFolder, searcher: PlannedSearch, callbacks: list[tune.Callback], *, concurrent: int
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(run_trial, lambda task: tune.PlacementGroupFactory([task["resources"]])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=build_scheduler(sweep, folder.path),
            num_samples=-1,  # until the searcher says that it has no more
            max_concurrent_trials=concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.path.absolute() / "ray"),
            failure_config=tune.FailureConfig(max_failures=sweep.config.failure.max_retries),
            callbacks=callbacks,
            verbose=0,
        ),
    )


@contextmanager
def _signals_of_a_sweep() -> Iterator[None]:
    """Let SIGTERM, with which Slurm and others ask to end, do what Ctrl-C does: Ray Tune ends cleanly on SIGINT only.

    To be entered after `ray.init`, whose own handler for SIGTERM aborts the process. Afterwards SIGINT is as before, as
    Ray Tune leaves a handler behind that swallows the next one; and SIGTERM, too, interrupts what is left to do.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, interrupt)


def _note_stopped(folder: SweepFolder) -> None:
    """Note of trials that the scheduler stopped that they have ended: a driver may be killed between the two."""
    stopped = stopped_trials(folder.path)
    for record in folder.records():
        if record.trial_id in stopped and record.state not in ENDED:
            folder.write_record(replace(record, state=STOPPED, error=None, failure=None))


def _note_total(folder: SweepFolder) -> None:
    """Note how many trials it became: a budget may end before the plan does, and failed trials are not replicated."""
    folder.note(num_trials=len(folder.records()), done=True)


def _settle(folder: SweepFolder) -> None:
    """Put trials that were running when the sweep ended, or its driver was killed, back in the queue."""
    for record in folder.records():
        if record.state == RUNNING:
            folder.write_record(replace(record, state=PENDING))

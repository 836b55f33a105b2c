"""A sweep of eight trials with its runs in MLflow, as `launch.py sweep` leaves it, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param

from essnet.atomic_files import write_json
from essnet.sweep.folder import COMPLETED, SweepFolder, TrialRecord
from essnet.tracking import RunStore, default_uri

D, K = "objective.embedding_dim", "objective.num_neighbours"
POINTS: list[tuple[str, dict[str, Any]]] = [
    ("full_softmax", {}),
    *(("knn_softmax", {D: d, K: k}) for d in (4, 12, 32) for k in (3, 7)),
    ("embedding_softmax", {D: 12}),
]


def make_tracked_sweep(output: Path, *, uri: str | None = None, name: str = "s") -> SweepFolder:
    store = RunStore(uri or default_uri(output), "essnet", artifact_root=output / "mlartifacts")
    folder = SweepFolder(output / name)
    parent = store.find_or_make(
        f"sweep {name}",
        identity={"essnet.kind": "sweep", "essnet.sweep_id": name},
        tags={"essnet.sweep": name},
        params={"baseline": "full_softmax"},
    )
    for index, (arm, point) in enumerate(POINTS):
        trial_id = f"{index:03d}-{arm}"
        run_id = store.find_or_make(
            trial_id,
            identity={"essnet.trial_id": trial_id, "mlflow.parentRunId": parent},
            tags={"essnet.kind": "trial", "essnet.sweep": name, "essnet.arm": arm},
            params={"objective.name": arm, **point},
        )
        metrics = {"perf/loss_memory_mib": 4.0 * point.get(D, 64), "perf/step_ms": 50.0 + index}
        points = [Metric(key, value, 1000, 30) for key, value in metrics.items()]
        points += [Metric("val/miou", 0.5 + index / 100 + step / 1000, step, step) for step in (10, 20, 30)]
        store.client.log_batch(run_id, metrics=points, params=[Param("seed", "0")])
        store.client.set_terminated(run_id, "FINISHED")
        folder.write_record(TrialRecord(trial_id, index, arm, 0, point, point, 0, 30, COMPLETED))
    store.client.set_terminated(parent, "FINISHED")
    state = {"name": name, "baseline": "full_softmax", "metric": "val/miou", "mode": "max", "num_trials": len(POINTS)}
    write_json(folder.path / "sweep.json", {**state, "tracking_uri": store.uri, "parent_run_id": parent})
    return folder

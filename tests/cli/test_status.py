"""`status`, `list` and `logs` of sweep folders made by hand; tests/sweep/test_on_ray.py has those of a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from essnet.atomic_files import write_json
from essnet.cli.app import main
from essnet.cli.sweep_snapshot import SnapshotReader
from essnet.file_lock import hold
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, SweepFolder, TrialRecord


def make_sweep(
    output: Path, states: dict[str, list[str]], *, name: str = "s", replicates: tuple[int, ...] = ()
) -> SweepFolder:
    """A sweep's folder with the given states by arm; completed trials have mIoU 0.5, 0.51, ...

    Those whose index is in `replicates` are replicates of their arm's first trial.
    """
    folder = SweepFolder(output / name)
    index = 0
    for arm, of_arm in states.items():
        for arm_index, state in enumerate(of_arm):
            trial_id = f"{index:03d}-{arm}"
            seed = arm_index if index in replicates else 0
            record = TrialRecord(trial_id, index, arm, arm_index, {"d": arm_index}, {}, seed, 100, state)
            if state == FAILED:
                record = replace(record, error="out of luck", failure="crash")
            if index in replicates:
                record = replace(record, replicates=f"{index - arm_index:03d}-{arm}", overrides={"d": 0, "seed": seed})
            folder.write_record(record)
            path = folder.trial(trial_id)
            if state == COMPLETED:
                metrics = {"val/miou": 0.5 + index / 100}
                (path / "history.jsonl").write_text(json.dumps({"step": 100, "metrics": metrics}) + "\n")
            if state == RUNNING:
                write_json(path / "progress.json", {"step": 40, "max_steps": 100, "seconds_per_step": 2.0})
            index += 1
    state_file = {"name": name, "baseline": "full", "metric": "val/miou", "mode": "max", "num_trials": index}
    write_json(folder.path / "sweep.json", {**state_file, "tracking_uri": "sqlite:///x", "parent_run_id": None})
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    written = capsys.readouterr()
    return exited.value.code, written.out + written.err


def test_arms_running_trials_failures_and_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path, {"full": [COMPLETED], "knn": [COMPLETED, FAILED, RUNNING, PENDING]})
    with hold(folder.path / "lock"):
        code, text = run(capsys, "status", "s", "--output", str(tmp_path))
    assert code == 0
    # 60 steps of the one that runs, 100 of the one that waits, 2 s each, one at a time
    assert "sweep s: 3 of 5 trials, about 5:20 left" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["full"] == ["full", "1", "000-full", "-", "-", "0.500"]
    assert rows["knn"][:5] == ["knn", "1", "1", "1", "001-knn"]
    assert rows["003-knn"] == ["003-knn", "-", "-", "40/100", "2:00"]
    assert "failed: 002-knn: crash: out of luck" in text
    assert "runs in process" in text
    assert "replicates" not in text


def test_replicates_are_counted_and_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED] * 3, "knn": [COMPLETED, COMPLETED, PENDING]}, replicates=(1, 2, 4, 5))
    code, text = run(capsys, "status", "s", "--output", str(tmp_path), "--json")
    assert code == 0
    assert json.loads(text.splitlines()[0])["replicates"] == 4
    assert "sweep s: 5 of 6 trials, 4 replicates begun" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines()[1:] if line.strip()}
    assert rows["full"] == ["full", "3", "000-full", "-", "-", "0.510"]
    assert rows["knn"] == ["knn", "2", "003-knn", "-", "-", "0.535"]


def test_a_sweep_with_failures_is_done_but_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED], "knn": [FAILED, FAILED]})
    _, text = run(capsys, "status", "s", "--output", str(tmp_path))
    assert text.splitlines()[-1] == "done; 2 failed, --resume tries them again"
    _, text = run(capsys, "list", "--output", str(tmp_path))
    assert text == "s: 3 of 3 trials, 2 failed, done; --resume tries what failed again\n"


def test_a_report_names_how_trials_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path, {"full": [COMPLETED], "knn": [FAILED, PENDING]})
    # out of memory beside others: it waits for a device of its own
    again = replace(folder.record("002-knn"), error="8 GiB wanted [now]", failure="out_of_memory")
    folder.write_record(again)
    _, text = run(capsys, "report", "s", "--output", str(tmp_path))
    assert "failed: 001-knn: crash: out of luck" in text
    assert "failed: 002-knn" not in text
    folder.write_record(replace(again, state=FAILED))
    _, text = run(capsys, "report", "s", "--output", str(tmp_path))
    assert "failed: 002-knn: out_of_memory: 8 GiB wanted [now]" in text


def test_ended_trials_are_read_once_and_running_ones_each_time(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, {"full": [COMPLETED], "knn": [RUNNING]})
    write_json(folder.trial("000-full") / "progress.json", {"step": 100, "max_steps": 100, "seconds_per_step": 1.0})
    reader = SnapshotReader(folder)
    first = reader.read()
    assert first is not None
    assert (first.steps, first.max_steps) == ({"000-full": 100, "001-knn": 40}, {"000-full": 100, "001-knn": 100})
    for name in ("progress.json", "history.jsonl"):
        (folder.trial("000-full") / name).unlink()
    write_json(folder.trial("001-knn") / "progress.json", {"step": 60, "max_steps": 100, "seconds_per_step": 3.0})
    second = reader.read()
    assert second is not None
    assert second.steps == {"000-full": 100, "001-knn": 60}
    assert second.seconds_per_step == {"000-full": 1.0, "001-knn": 3.0}
    assert second.comparison.trials[0] == first.comparison.trials[0]


def test_a_trial_that_is_run_again_is_read_again(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, {"full": [COMPLETED], "knn": [FAILED]})
    write_json(folder.trial("001-knn") / "progress.json", {"step": 10, "max_steps": 100, "seconds_per_step": 1.0})
    reader = SnapshotReader(folder)
    reader.read()
    folder.write_record(replace(folder.record("001-knn"), state=RUNNING, error=None, failure=None))
    write_json(folder.trial("001-knn") / "progress.json", {"step": 90, "max_steps": 100, "seconds_per_step": 1.0})
    snapshot = reader.read()
    assert snapshot is not None
    assert (snapshot.ended, snapshot.steps["001-knn"]) == (1, 90)


def test_there_is_no_snapshot_before_the_sweep_has_begun(tmp_path: Path) -> None:
    assert SnapshotReader(SweepFolder(tmp_path)).read() is None


def test_two_hundred_trials_stay_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = {"full": [COMPLETED], "knn": [COMPLETED] * 100 + [RUNNING] * 30 + [FAILED] * 69}
    with hold(make_sweep(tmp_path, states).path / "lock"):
        code, text = run(capsys, "status", "s", "--output", str(tmp_path))
    assert code == 0
    assert len(text.splitlines()) < 32
    assert "and 18 more running" in text
    assert "and 64 failed before them" in text


def test_a_sweep_whose_process_is_gone_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED], "knn": [RUNNING]})
    code, text = run(capsys, "status", "s", "--output", str(tmp_path), "--json")
    assert code == 0
    assert "interrupted; the same sweep command goes on with --resume" in text
    assert "001-knn" not in text  # nothing runs, though that was noted last
    last = json.loads(text.splitlines()[0])  # standard output comes first here
    assert last["process"] is None
    assert last["seconds_left"] is None
    assert (last["ended"], last["num_trials"]) == (1, 2)


def test_the_list_tells_running_done_and_interrupted_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED]}, name="done")
    make_sweep(tmp_path, {"full": [COMPLETED, PENDING]}, name="interrupted")
    running = make_sweep(tmp_path, {"full": [FAILED, RUNNING]}, name="running")
    with hold(running.path / "lock"):
        code, text = run(capsys, "list", "--output", str(tmp_path))
    assert code == 0
    lines = text.splitlines()
    assert lines[0] == "done: 1 of 1 trials, done"
    assert lines[1] == "interrupted: 1 of 2 trials, interrupted"
    assert lines[2].startswith("running: 1 of 2 trials, 1 failed, running in process ")


def test_a_damaged_sweep_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED]}, name="good")
    bad = make_sweep(tmp_path, {"full": [COMPLETED]}, name="bad")
    write_json(bad.trial("000-full") / "trial.json", {"trial_id": "000-full"})
    code, text = run(capsys, "list", "--output", str(tmp_path))
    assert code == 0
    assert "trial.json: damaged; expected the record of a trial" in text
    assert "good: 1 of 1 trials, done" in text


def test_following_a_trial_whose_sweep_is_gone_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path, {"full": [RUNNING]})
    (folder.trial("000-full") / "log.txt").write_text("last words\n")
    code, text = run(capsys, "logs", "s", "0", "--output", str(tmp_path), "--follow")
    assert (code, text) == (0, "last words\n")


def test_no_sweeps_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, "list", "--output", str(tmp_path))
    assert code == 0
    assert text == f"there is no sweep in {tmp_path}\n"


@pytest.mark.parametrize("trial", ["1", "001", "001-knn"])
def test_a_log_is_found_by_number_or_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], trial: str) -> None:
    folder = make_sweep(tmp_path, {"full": [COMPLETED], "knn": [COMPLETED]})
    (folder.trial("001-knn") / "log.txt").write_text("step 7: naïve\n", encoding="utf-8")
    code, text = run(capsys, "logs", "s", trial, "--output", str(tmp_path), "--follow")
    assert code == 0
    assert text == "step 7: naïve\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("logs", "s", "7"), "has no trial '7'; there are 000-full, 001-knn"),
        (("logs", "s", "001-kn"), "has no trial '001-kn'"),
        (("logs", "s", "0"), "log.txt: is not there yet; the trial has not started"),
        (("logs", "t", "0"), "t: no such sweep"),
        (("status", "t"), "t: no such sweep"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    make_sweep(tmp_path, {"full": [COMPLETED], "knn": [PENDING]})
    code, text = run(capsys, *arguments, "--output", str(tmp_path))
    assert code == 2
    assert expected in text
    assert len(text.splitlines()) == 1

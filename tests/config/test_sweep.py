from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import Choice, FloatRange, load_sweep
from tests.config.files import FOLDER_TRIAL, TRIAL, write
from tests.config.sweep_files import FULL, HEAD, arm, load


def test_arms_may_be_nested_or_dotted(tmp_path: Path) -> None:
    nested = load(tmp_path, arm("objective: {name: knn_softmax, num_neighbours: {choice: [1, 2]}}"))
    dotted = load(tmp_path, arm("objective.name: knn_softmax, objective.num_neighbours: {choice: [1, 2]}"))
    assert nested.arms == dotted.arms
    knn = nested.arms[1]
    assert knn.fixed == {"objective.name": "knn_softmax"}
    assert knn.spaces == {"objective.num_neighbours": Choice(choice=[1, 2])}
    assert nested.trial_config({**knn.fixed, "objective.num_neighbours": 2}).objective.num_neighbours == 2


def test_all_kinds_of_spaces(tmp_path: Path) -> None:
    text = arm("optimizer.lr: {float: [1e-4, 1e-2], log: true}, objective.embedding_dim: {int: [4, 12], step: 4}")
    knn = load(tmp_path, text).arms[1]
    assert isinstance(knn.spaces["optimizer.lr"], FloatRange)
    assert knn.first_point() == {"optimizer.lr": 1e-4, "objective.embedding_dim": 4}
    assert len(knn.probe_points()) == 2 * 3


def test_a_list_is_a_value_of_a_choice(tmp_path: Path) -> None:
    sweep = load(tmp_path, arm("data.crop_size: {choice: [[32, 64], 64]}"))
    sizes = [sweep.trial_config(point).data.crop_height_width for point in sweep.arms[1].probe_points()]
    assert sizes == [(32, 64), (64, 64)]


GRACE = "scheduler: {name: median, grace_steps: 9}\n"


@pytest.mark.parametrize(
    ("arms", "longest"),
    [
        (arm("trainer.max_steps: 9"), 9),
        (arm("trainer.max_steps: {int: [2, 9]}"), 9),
        (arm("trainer.max_steps: {int: [2, 10]}"), None),
        (arm("seed: 1") + "overrides: {trainer.max_steps: 5}\n", 5),
        (arm("seed: 1"), None),
        (arm("trainer.max_steps: 9, reference: true"), None),  # nothing to stop
    ],
)
def test_steps_of_grace_that_no_trial_outlives_are_told(tmp_path: Path, arms: str, longest: int | None) -> None:
    said = (
        f"scheduler.grace_steps: found 9, but trials that median may stop have at most trainer.max_steps={longest}, "
        "so it stops none; take fewer"
    )
    path = f"{tmp_path / 's.yaml'}"
    assert load(tmp_path, arms + GRACE).warnings == (() if longest is None else (f"{path}: {said}",))
    assert load(tmp_path, arms, "scheduler={name: median, grace_steps: 9}").warnings == (
        () if longest is None else (said,)
    )
    assert load(tmp_path, arms + GRACE, "scheduler.name=none").warnings == ()
    assert load(tmp_path, arms, "scheduler.name=median").warnings == ()


def test_base_may_stand_in_the_sweep(tmp_path: Path) -> None:
    base = "{data: {name: textures}, objective: {name: full_softmax}}"
    sweep = load(tmp_path, f"name: s\nbase: {base}\nbaseline: a\narms: {{a: {{}}}}\n")
    assert sweep.trial_config({}).name == "s"


def test_arms_win_over_the_command_line_and_that_over_the_sweeps_overrides(tmp_path: Path) -> None:
    text = (
        f"{HEAD}overrides: {{trainer: {{max_steps: 5, batch_size: 6}}, seed: 7}}\n"
        f"arms:\n{FULL}  knn: {{trainer.max_steps: 9}}\n"
    )
    sweep = load(tmp_path, text, "trainer.max_steps=8", "trainer.batch_size=3")
    full, knn = (sweep.trial_config(one.fixed) for one in sweep.arms)
    assert (full.trainer.max_steps, full.trainer.batch_size, full.seed) == (8, 3, 7)
    assert (knn.trainer.max_steps, knn.trainer.batch_size, knn.seed) == (9, 3, 7)


def test_command_line_changes_the_sweeps_own_blocks(tmp_path: Path) -> None:
    text = f"{HEAD}arms:\n{FULL}search: {{seed: 3}}\n"
    arguments = ("name=other", "search.algorithm=optuna", "search.num_trials=4", "resources.cpus=2", "seed=5")
    sweep = load(tmp_path, text, *arguments, "failure={max_retries: 0}", "scheduler.name=asha")
    assert sweep.config.name == "other"
    search = sweep.config.search
    assert (search.algorithm, search.num_trials, search.seed) == ("optuna", 4, 3)
    assert (sweep.config.resources.cpus, sweep.config.failure.max_retries) == (2, 0)
    assert sweep.config.scheduler.name == "asha"
    assert sweep.trial_config({}).seed == 5


def test_tracking_is_handed_down_to_every_trial(tmp_path: Path) -> None:
    text = f"{HEAD}arms:\n{FULL}"
    assert load(tmp_path, text).trial_config({}).tracking.experiment == "essnet"
    sweep = load(tmp_path, f"{text}tracking: {{experiment: mine}}\n", "tracking.uri=http://host:1")
    tracking = sweep.trial_config({}).tracking
    assert (tracking.experiment, tracking.uri) == ("mine", "http://host:1")


def test_root_of_the_base_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "base.yaml", FOLDER_TRIAL)
    sweep = load_sweep(write(tmp_path / "s.yaml", f"{HEAD}arms:\n{FULL}"))
    assert sweep.base["data"]["root"] == str(tmp_path / "pictures")
    sweep = load_sweep(tmp_path / "s.yaml", ["data.root=other"])
    assert sweep.base["data"]["root"] == str(tmp_path / "other")


def test_paths_are_absolute_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of a sweep runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    arms = f"arms:\n{FULL}  other: {{model.encoder_weights: w.pth, data: {{name: folder, root: d}}}}\n"
    write(tmp_path / "base.yaml", FOLDER_TRIAL)
    sweep = load_sweep(write(tmp_path / "s.yaml", HEAD + arms), ["data.root=mine", "tracking.uri=sqlite:///t.db"])
    full, other = (sweep.trial_config({**arm.fixed}) for arm in sweep.arms)
    assert full.data.root == str(tmp_path / "mine")
    assert full.model.encoder_weights == "none"
    assert full.tracking.uri == f"sqlite:///{tmp_path / 't.db'}"
    assert other.data.root == str(tmp_path / "d")
    assert other.model.encoder_weights == str(tmp_path / "w.pth")


def test_the_sweeps_tracking_adds_to_that_of_the_base(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", TRIAL + "tracking: {experiment: mine}\n")
    sweep = load_sweep(write(tmp_path / "s.yaml", f"{HEAD}arms:\n{FULL}"), ["tracking.uri=http://127.0.0.1:1"])
    tracking = sweep.trial_config({}).tracking
    assert (tracking.uri, tracking.experiment) == ("http://127.0.0.1:1", "mine")

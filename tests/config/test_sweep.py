from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import Choice, FloatRange, load_sweep
from tests.config.files import FOLDER_TRIAL, TRIAL, write
from tests.config.sweep_files import FULL, HEAD, arm, load, refusal


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("objective.num_neighbors: 3", "objective.num_neighbors: unknown key; did you mean objective.num_neighbours?"),
        (
            "objective: {num_neighbors: 3}",
            "objective.num_neighbors: unknown key; did you mean objective.num_neighbours?",
        ),
        ("objectiv.name: full_softmax", "objectiv: unknown key; did you mean objective?"),
        (
            "objective.num_neighbors: {choice: [1, 2]}",
            "objective.num_neighbors: unknown key; did you mean objective.num_neighbours?",
        ),
        (
            "objective.num_neighbours: {choice: [7, 31, -1]}",
            "objective.num_neighbours: found -1; expected greater than or equal to 0",
        ),
        (
            "objective.num_neighbours: {choice: [1, true]}",
            "objective.num_neighbours: found True; expected a valid integer",
        ),
        ("optimizer.lr: {float: [0, 1]}", "optimizer.lr: found 0.0; expected greater than 0"),
        ("optimizer.lr: {floot: [0, 1]}", "optimizer.lr: found {'floot': [0, 1]}; expected a valid number"),
        ("objective: 3", "objective: found 3; expected a block of keys"),
        ("objective.name.x: 1", "objective.name.x: objective.name is the value 'knn_softmax', not a block of keys"),
        (
            "objective.name: knn_softmax, objective: {name: full_softmax}",
            "objective.name: written twice, dotted and nested",
        ),
        (
            "objective.name: knn_softmax, objective: {name: {choice: [full_softmax]}}",
            "objective.name: written twice, dotted and nested",
        ),
        (
            "objective: {similarity: dot, renormalise: true}",
            "objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing",
        ),
        (  # what makes the one combination impossible is fixed
            "objective: {similarity: {choice: [l2, dot]}, renormalise: true}",
            "objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing "
            "(at objective.similarity=dot)",
        ),
        (  # only one of the four combinations is impossible
            "trainer: {device: {choice: [cpu, auto]}, precision: {choice: [float32, float16]}}",
            "trainer: precision=float16 needs a GPU, and device is cpu; take bfloat16 or float32 "
            "(at trainer.device=cpu, trainer.precision=float16); a `when` on trainer.precision can leave it out there",
        ),
        (  # both ends are possible, what lies between is not
            "model.output_stride: 16, data.crop_size: {int: [32, 64]}",
            "data.crop_size=33 must be divisible by model.output_stride=16; nearest is 32 (at data.crop_size=33)",
        ),
        (  # neither the ends nor what is next to them: each point is looked at
            "model.output_stride: 16, data.crop_size: {choice: [32, 64, 96, 100, 112, 128]}",
            "data.crop_size=100 must be divisible by model.output_stride=16; nearest is 96 (at data.crop_size=100)",
        ),
        (
            "choice: [1, 2]",
            "choice: unknown key; known are data, evaluation, model, name, objective, optimizer, "
            "schedule, seed, tracking, trainer",
        ),
    ],
)
def test_a_wrong_arm_is_named_with_its_file(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, arm(line)) == f"s.yaml: arms.knn: {message}"


def test_a_wrong_space_is_named_with_its_path(tmp_path: Path) -> None:
    message = refusal(tmp_path, arm("objective: {num_neighbours: {int: [5, 1]}}"))
    assert message == "s.yaml: arms.knn.objective.num_neighbours: found [5, 1]; expected [low, high] with low < high"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}arms: {{knn: {{}}}}\n", "baseline: found 'full'; one of the arms knn"),
        (f"{HEAD}arms: {{}}\n", "arms: found {}; expected at least 1 item"),
        (f"{HEAD}arms: [full]\n", "arms: found ['full']; expected a block of keys"),
        (f"{HEAD}arms: {{full: 3}}\n", "arms.full: found 3; expected a block of keys"),
        (
            f"{HEAD}arms: {{a/b: {{}}, full: {{}}}}\n",
            "arms.a/b: found 'a/b'; it becomes a folder's name: letters, digits, '.', '_', '-', at most 100",
        ),
        (HEAD, "arms: is missing"),
        (f"name: s\nbase: base.yaml\narms:\n{FULL}", "baseline: is missing"),
        (f"{HEAD}arms:\n{FULL}serach: {{}}\n", "serach: unknown key; did you mean search?"),
        (
            f"{HEAD}arms:\n{FULL}search: {{algorithm: tpe}}\n",
            "search.algorithm: found 'tpe'; one of 'grid', 'random' or 'optuna'",
        ),
        (
            f"{HEAD}arms:\n{FULL}search: {{metric: miou}}\n",
            "search.metric: found 'miou'; did you mean val/miou?",
        ),
        (
            f"{HEAD}arms:\n{FULL}search: {{num_trials: 3}}\n",
            "search: num_trials: grid runs every point; leave it out, or take algorithm: random",
        ),
        (
            f"{HEAD}arms:\n{FULL}search: {{points: [{{arm: full}}]}}\n",
            "search: points: grid runs every point; leave them out, or take algorithm: random",
        ),
        (
            f"{HEAD}arms:\n{FULL}overrides: {{trainer.max_step: 5}}\n",
            "overrides: trainer.max_step: unknown key; did you mean trainer.max_steps?",
        ),
        (
            f"{HEAD}arms:\n{FULL}overrides: {{seed: 1, trainer.max_steps: 5, trainer: {{max_steps: 4}}}}\n",
            "overrides: trainer.max_steps: written twice, dotted and nested",
        ),
        (TRIAL, "is a trial (it has no arms); run it with `launch.py train`"),
    ],
)
def test_a_wrong_sweep_file(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == f"s.yaml: {message}"


def test_a_metric_of_frequency_groups_needs_data_that_has_them(tmp_path: Path) -> None:
    text = f"{HEAD}arms: {{full: {{objective.name: full_softmax}}}}\n"
    rare = "search: {metric: val/miou_rare}\n"
    message = (
        "search.metric: found 'val/miou_rare', which only data.name=coco_lvis has, and not textures; take val/miou"
    )
    assert refusal(tmp_path, text + rare) == f"s.yaml: {message}"
    assert refusal(tmp_path, text, "search.metric=val/miou_rare") == message
    lvis = "data={name: coco_lvis, root: lvis}"
    assert load(tmp_path, text + rare, lvis).config.search.metric == "val/miou_rare"
    # Each arm may have data of its own.
    assert refusal(tmp_path, arm("data: {name: coco_lvis, root: lvis}") + rare) == f"s.yaml: {message}"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nothing.yaml", "s.yaml: base: found 'nothing.yaml', and there is no file nothing.yaml"),
        ("s.yaml", "s.yaml: base: s.yaml is a sweep (it has arms); expected a trial"),
        ("list.yaml", "list.yaml: expected a mapping (key: value), found list"),
        ("broken.yaml", "broken.yaml: objective.nam: unknown key; did you mean objective.name?"),
        ("{name: b, objective: {name: knn_softmax}}", "s.yaml: base: data: is missing"),
        ("3", "s.yaml: base: found 3; expected a trial's YAML file, or the trial itself as a block of keys"),
        ("''", "s.yaml: base: found ''; expected a trial's YAML file, or the trial itself as a block of keys"),
    ],
)
def test_a_wrong_base(tmp_path: Path, base: str, message: str) -> None:
    write(tmp_path / "list.yaml", "[1]")
    write(tmp_path / "broken.yaml", TRIAL.replace("{name: knn", "{nam: x, name: knn"))
    assert refusal(tmp_path, f"name: s\nbase: {base}\nbaseline: a\narms: {{a: {{}}}}\n") == message


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


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("serch.algorithm=grid", "serch.algorithm: unknown key; did you mean search?"),
        ("traner.max_steps=1", "traner.max_steps: unknown key; did you mean trainer?"),
        ("search.algoritm=grid", "search.algoritm: unknown key; did you mean search.algorithm?"),
        ("trainer.max_steps=0", "trainer.max_steps: found 0; expected greater than or equal to 1"),
        ("resources.gpus=-1", "resources.gpus: found -1; expected greater than or equal to 0"),
        ("resources.cpus=.nan", "resources.cpus: found nan; expected a finite number"),
        ("failure.max_retries=true", "failure.max_retries: found True; expected a valid integer"),
        ("baseline=knn", "baseline: baseline stands in the sweep's file; the command line cannot change it"),
        ("arms.full.seed=1", "arms.full.seed: arms stands in the sweep's file; the command line cannot change it"),
        ("tracking.urii=x", "tracking.urii: unknown key; did you mean tracking.uri?"),
        ("name=a/b", "name: found 'a/b'; it becomes a folder's name: letters, digits, '.', '_', '-', at most 100"),
    ],
)
def test_refused_on_the_command_line(tmp_path: Path, argument: str, message: str) -> None:
    assert refusal(tmp_path, f"{HEAD}arms:\n{FULL}", argument) == message


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


@pytest.mark.parametrize("line", ["tracking.uri: http://x", "tracking: {experiment: e}", "name: {choice: [a, b]}"])
def test_arms_have_no_name_and_tracking_of_their_own(tmp_path: Path, line: str) -> None:
    assert "belongs to the sweep, and is the same for all arms" in refusal(tmp_path, arm(line))

"""What is refused of a sweep's file and of the arguments beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.files import TRIAL, write
from tests.config.sweep_files import FULL, HEAD, arm, load, refusal


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


SEARCH = "search: {algorithm: random, num_trials: 2, "


@pytest.mark.parametrize(
    "text",
    [
        "[full]",
        "name: [",
        "name: s\nname: t\n",
        TRIAL,
        HEAD,
        f"{HEAD}arms: {{knn: {{}}}}\n",
        f"name: s\nbase: {{data: {{name: folder}}}}\nbaseline: full\narms:\n{FULL}",
        f"name: s\nbase: nothing.yaml\nbaseline: full\narms:\n{FULL}",
        f"name: s\nbase: s.yaml\nbaseline: full\narms:\n{FULL}",
        f"{HEAD}arms:\n{FULL}overrides: {{seed.x: 1, seed: {{x: 2}}}}\n",
        f"{HEAD}arms:\n{FULL}overrides: {{data.name.x: 1}}\n",
        f"{HEAD}arms:\n{FULL}overrides: {{trainer.max_steps: 0}}\n",
        f"{HEAD}arms:\n{FULL}overrides: {{seed: {{choice: [1, 2]}}}}\n",
        f"{HEAD}arms:\n{FULL}overrides: {{data: {{name: folder, root: ~nobody-of-this-name/x}}}}\n",
        f"{HEAD}overrides: {{data: {{name: folder, root: mine}}}}\narms:\n{FULL}search: {{metric: val/miou_rare}}\n",
        arm("share: 2"),
        arm("tracking.uri: sqlite:///t.db"),
        arm("objective.name: knn_softmax, objective: {name: knn_softmax}"),
        arm("seed: {choice: [1]}, trainer.seed: {choice: []}"),
        arm("data.name.x: 1"),
        arm("data.name.x: {choice: [1]}"),
        arm("trainer.max_steps: 0"),
        arm("data: {name: folder, root: ~nobody-of-this-name/x}"),
        arm("objective.num_neighbours: {choice: [64]}"),
        arm("objective.similarity: dot, objective.margin: {choice: [1]}"),
        arm("seed: {choice: [1], when: {sed: 1}}"),
        arm("seed: {choice: [1], when: {seed: 1}}"),
        arm("seed: {int: [1, 9]}, trainer.max_steps: {choice: [1], when: {seed: 0}}"),
        arm("seed: {choice: [1, 2]}") + SEARCH + "points: [{arm: full}]}\n",
        arm("seed: {choice: [1, 2]}") + SEARCH + "points: [{arm: knn, seed: 3}]}\n",
        arm("seed: {choice: [1, 2]}") + SEARCH + "points: [{arm: knn, seed: 1}, {arm: knn, seed: 1}]}\n",
        arm("seed: {choice: [1, 2]}") + SEARCH + "points: [{arm: knn, seed.x: 1, seed: {x: 1}}]}\n",
    ],
)
def test_a_refusal_of_a_sweep_file_begins_with_its_name(tmp_path: Path, text: str) -> None:
    assert re.match(r"s\.yaml(, line \d+)?: ", refusal(tmp_path, text))


def test_so_does_that_of_an_argument_where_the_file_is_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To say whether the argument has an effect, more cases have to be told apart than to check the arm."""
    monkeypatch.setattr("essnet.config.arm._MOST_DECIDING_POINTS", 5)
    text = arm(
        "trainer.batch_size: {choice: [1, 2]}, seed: {choice: [1, 2], when: {trainer.batch_size: 1}}, "
        "trainer.ema_decay: {choice: [0.5], when: {seed: 1}}, schedule.name: {choice: [poly, cosine]}"
    )
    assert load(tmp_path, text).arms
    assert refusal(tmp_path, text, "schedule.drop_factor=0.5").startswith("s.yaml: arms.knn: its conditions tell more")


SPACE = "{choice: [0.1, 0.2]}"


@pytest.mark.parametrize(
    ("text", "arguments", "base", "prefix"),
    [
        (f"overrides: {{optimizer.lr: {SPACE}}}\n", (), TRIAL, "s.yaml: overrides: "),
        (f"overrides: {{optimizer: {{lr: {SPACE}}}}}\n", (), f"{TRIAL}optimizer: {{lr: 1}}\n", "s.yaml: overrides: "),
        ("", (f"optimizer.lr={SPACE}",), TRIAL, ""),
        ("", (f"optimizer={{lr: {SPACE}}}",), TRIAL, ""),
        ("", (), f"{TRIAL}optimizer: {{lr: {SPACE}}}\n", "base.yaml: "),
    ],
)
def test_a_space_stands_in_an_arm(
    tmp_path: Path, text: str, arguments: tuple[str, ...], base: str, prefix: str
) -> None:
    assert refusal(tmp_path, f"{HEAD}arms:\n{FULL}{text}", *arguments, base=base) == (
        f"{prefix}optimizer.lr: found a search space; write it in each arm that searches it, as arms.NAME.optimizer.lr"
    )


def test_a_metric_of_frequency_groups_needs_data_that_has_them(tmp_path: Path) -> None:
    text = f"{HEAD}arms: {{full: {{objective.name: full_softmax}}}}\n"
    rare = "search: {metric: val/miou_rare}\n"
    message = (
        "search.metric: found 'val/miou_rare', which only data.name=coco_lvis, textures has, and not folder; "
        "take val/miou"
    )
    folder = "data={name: folder, root: mine}"
    assert refusal(tmp_path, text + rare, folder) == f"s.yaml: {message}"
    assert refusal(tmp_path, text, folder, "search.metric=val/miou_rare") == message
    for grouped in ("data={name: coco_lvis, root: lvis}", "data={name: textures}"):
        assert load(tmp_path, text + rare, grouped).config.search.metric == "val/miou_rare"
    # Each arm may have data of its own.
    assert refusal(tmp_path, arm("data: {name: folder, root: mine}") + rare) == f"s.yaml: {message}"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nothing.yaml", "s.yaml: base: found 'nothing.yaml', and there is no file nothing.yaml"),
        ("s.yaml", "s.yaml: base: s.yaml is a sweep (it has arms); expected a trial"),
        ("list.yaml", "list.yaml: expected a mapping (key: value), found list"),
        ("tracking.yaml", "tracking.yaml: tracking.uri: tracking is the value 3, not a block of keys"),
        ("broken.yaml", "broken.yaml: objective.nam: unknown key; did you mean objective.name?"),
        ("{name: b, objective: {name: knn_softmax}}", "s.yaml: base: data: is missing"),
        ("3", "s.yaml: base: found 3; expected a trial's YAML file, or the trial itself as a block of keys"),
        ("''", "s.yaml: base: found ''; expected a trial's YAML file, or the trial itself as a block of keys"),
    ],
)
def test_a_wrong_base(tmp_path: Path, base: str, message: str) -> None:
    write(tmp_path / "list.yaml", "[1]")
    write(tmp_path / "broken.yaml", TRIAL.replace("{name: knn", "{nam: x, name: knn"))
    write(tmp_path / "tracking.yaml", f"{TRIAL}tracking: 3\n")
    text = f"name: s\nbase: {base}\nbaseline: a\narms: {{a: {{}}}}\ntracking: {{uri: sqlite:///t.db}}\n"
    assert refusal(tmp_path, text) == message


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


@pytest.mark.parametrize("line", ["tracking.uri: http://x", "tracking: {experiment: e}", "name: {choice: [a, b]}"])
def test_arms_have_no_name_and_tracking_of_their_own(tmp_path: Path, line: str) -> None:
    assert "belongs to the sweep, and is the same for all arms" in refusal(tmp_path, arm(line))

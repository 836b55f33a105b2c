"""Arms: conditions, points, numbers of classes, options."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.coco_lvis.label_space import NUM_CLASSES as COCO_LVIS_CLASSES
from essnet.config import InputError, Sweep, TrialConfig
from essnet.config.conditions import HAS_EFFECT, NUM_CLASSES
from essnet.config.sweep import ArmOptions
from essnet.config.trial_keys import can_be, key_paths
from essnet.data.official_classes import official_classes
from tests.config.sweep_files import HEAD, arm, load, refusal
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep


def points_of(sweep: Sweep, arm: int = 1) -> list[dict[str, object]]:
    return [{path.split(".")[-1]: value for path, value in point.items()} for point in sweep.arms[arm].points()]


def test_a_space_is_searched_only_where_its_conditions_hold(tmp_path: Path) -> None:
    text = arm(
        "seed: {choice: [1, 2]}, optimizer.lr: {choice: [0.1, 0.2], when: {seed: 2}}, "
        "trainer.ema_decay: {choice: [0.9], when: {optimizer.lr: [0.2], trainer.precision: float32}}"
    )
    assert points_of(load(tmp_path, text)) == [
        {"seed": 1},
        {"seed": 2, "lr": 0.1},
        {"seed": 2, "lr": 0.2, "ema_decay": 0.9},
    ]


def test_conditions_may_stand_before_what_they_look_at(tmp_path: Path) -> None:
    text = arm("optimizer.lr: {choice: [0.1, 0.2], when: {seed: 2}}, seed: {choice: [1, 2]}")
    assert points_of(load(tmp_path, text)) == [{"seed": 1}, {"seed": 2, "lr": 0.1}, {"seed": 2, "lr": 0.2}]


def test_conditions_look_at_the_base_trials_value_where_a_path_is_inactive(tmp_path: Path) -> None:
    text = arm(
        "seed: {choice: [1, 2]}, optimizer.lr: {choice: [0.1], when: {seed: 2}}, "
        "trainer.ema_decay: {choice: [0.9], when: {optimizer.lr: 0.01}}"
    )
    assert points_of(load(tmp_path, text)) == [{"seed": 1, "ema_decay": 0.9}, {"seed": 2, "lr": 0.1}]


def test_keys_without_effect_are_not_searched(tmp_path: Path) -> None:
    objective = (
        "name: {choice: [full_softmax, embedding_softmax, knn_softmax, sampled_softmax]}, num_random: {choice: [8]}, "
        "num_neighbours: {choice: [3]}, similarity: {choice: [dot, cosine]}, margin_weight: {choice: [0, 1]}, "
        "margin: {choice: [0.3]}"
    )
    margins = [{"similarity": "dot"}, *({"similarity": "cosine", **more} for more in (
        {"margin_weight": 0}, {"margin_weight": 1, "margin": 0.3},
    ))]  # fmt: skip
    found = points_of(load(tmp_path, arm(f"objective: {{{objective}}}")))
    expected = [{"name": "full_softmax"}]
    for name, more in (
        ("embedding_softmax", {}),
        ("knn_softmax", {"num_neighbours": 3}),
        ("sampled_softmax", {"num_random": 8, "num_neighbours": 3}),
    ):
        expected += [{"name": name, **more, **margin} for margin in margins]
    assert found == expected


@pytest.mark.parametrize(
    ("line", "points"),
    [
        (
            "optimizer: {name: {choice: [sgd, adamw]}, momentum: {choice: [0.5]}}",
            [{"name": "sgd", "momentum": 0.5}, {"name": "adamw"}],
        ),
        (
            "schedule: {name: {choice: [poly, multi_poly, cosine]}, power: {choice: [1]}, "
            "class_embeddings_power: {choice: [2]}}",
            [
                {"name": "poly", "power": 1},
                {"name": "multi_poly", "power": 1, "class_embeddings_power": 2},
                {"name": "cosine"},
            ],
        ),
        (
            "schedule: {name: {choice: [step, one_cycle]}, drop_factor: {choice: [0.5]}, "
            "drop_every_steps: {choice: [9]}, warmup_steps: {choice: [5]}, warmup_fraction: {choice: [0.1]}}",
            [
                {"name": "step", "drop_factor": 0.5, "drop_every_steps": 9, "warmup_steps": 5},
                {"name": "one_cycle", "warmup_fraction": 0.1},
            ],
        ),
        (
            "objective.name: {choice: [full_softmax, knn_softmax]}, "
            "optimizer.class_embeddings_lr_factor: {choice: [9]}",
            [{"name": "full_softmax"}, {"name": "knn_softmax", "class_embeddings_lr_factor": 9}],
        ),
    ],
)
def test_keys_of_another_optimizer_or_schedule_are_not_searched(
    tmp_path: Path, line: str, points: list[dict[str, object]]
) -> None:
    assert points_of(load(tmp_path, arm(line))) == points


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "seed: {choice: [1], when: {objective.similarty: l2}}",
            "seed.when: objective.similarty: unknown key; did you mean objective.similarity?",
        ),
        ("seed: {choice: [1], when: {objective.similarity: l3}}", "seed.when: objective.similarity: can never be 'l3'"),
        ("seed: {choice: [1], when: {trainer.batch_size: 0}}", "seed.when: trainer.batch_size: can never be 0"),
        ("seed: {choice: [1], when: {trainer.compile: 1}}", "seed.when: trainer.compile: can never be 1"),
        (
            "seed: {choice: [1], when: {trainer.batch_size: [2, 3]}}, trainer.batch_size: {int: [2, 8], step: 2}",
            "seed.when: trainer.batch_size: can never be 3; it is searched in [2, 8, step 2]",
        ),
        (
            "seed: {choice: [1], when: {objective.similarity: dot}}",
            "seed: is searched in no trial of the arm; it needs objective.similarity is dot",
        ),
        (
            "objective.name: embedding_softmax, objective.num_random: {choice: [1, 2]}",
            "objective.num_random: is searched in no trial of the arm; it needs objective.name is sampled_softmax",
        ),
        (  # each condition holds somewhere, and never both
            "objective.name: {choice: [embedding_softmax, sampled_softmax]}, "
            "objective.num_random: {choice: [1], when: {objective.name: embedding_softmax}}",
            "objective.num_random: is searched in no trial of the arm; it needs objective.name is sampled_softmax "
            "and objective.name is embedding_softmax",
        ),
        (
            "data.num_classes: 4, objective.num_neighbours: {choice: [7, 15]}",
            "objective.num_neighbours: nothing remains of {7, 15}; neighbours are other classes, "
            "at most data.num_classes - 1",
        ),
    ],
)
def test_a_condition_that_makes_no_sense(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, arm(line)) == f"s.yaml: arms.knn.{message}"


@pytest.mark.parametrize(
    ("line", "circle"),
    [
        ("seed: {choice: [1], when: {seed: 1}}", "seed needs seed"),
        (
            "seed: {choice: [1], when: {optimizer.lr: 1}}, optimizer.lr: {choice: [1], when: {seed: 1}}",
            "seed needs optimizer.lr needs seed",
        ),
        (
            "objective: {name: {choice: [knn_softmax], when: {objective.num_neighbours: 3}}, "
            "num_neighbours: {choice: [3]}}",
            "objective.name needs objective.num_neighbours needs objective.name",
        ),
    ],
)
def test_conditions_that_go_round_in_a_circle(tmp_path: Path, line: str, circle: str) -> None:
    message = f"arms.knn: the conditions go round in a circle: {circle}"
    assert refusal(tmp_path, arm(line)) == message


def test_the_table_of_effects_names_keys_and_values_that_there_are() -> None:
    keys = set(key_paths())
    assert keys >= HAS_EFFECT.keys()
    for condition in (condition for conditions in HAS_EFFECT.values() for condition in conditions):
        assert condition.path in keys
        assert all(can_be(condition.path, value) for value in condition.values)


def test_more_neighbours_than_other_classes_are_left_out(tmp_path: Path) -> None:
    text = arm("data.num_classes: {choice: [4, 8, 2]}, objective.num_neighbours: {choice: [3, 7, 15]}")
    assert points_of(load(tmp_path, text)) == [
        {"num_classes": 4, "num_neighbours": 3},
        {"num_classes": 8, "num_neighbours": 3},
        {"num_classes": 8, "num_neighbours": 7},
    ]


@pytest.mark.parametrize(
    ("data", "most"),
    [
        ("{name: textures}", 63),
        ("{name: voc, root: r}", 20),
        ("{name: folder, root: r, num_classes: 12}", 11),
        ("{name: folder, root: r}", 10**9),
    ],
)
def test_the_number_of_classes_may_follow_from_the_data(tmp_path: Path, data: str, most: int) -> None:
    sweep = load(tmp_path, arm("objective.num_neighbours: {int: [1, 1000000000]}"), f"data={data}")
    assert sweep.arms[1].count() == most


def test_numbers_of_classes_are_those_of_the_data_sets() -> None:
    tables = {name: name for name in ("voc", "ade20k", "cityscapes", "coco_stuff")} | {"coco_stuff10k": "coco_stuff"}
    counted = {name: official_classes(table).table.num_classes for name, table in tables.items()}
    assert {**counted, "coco_lvis": COCO_LVIS_CLASSES} == NUM_CLASSES


def test_very_many_points_are_counted_and_not_looked_at(tmp_path: Path) -> None:
    text = arm(
        "seed: {int: [1, 1000000000000]}, objective.name: {choice: [full_softmax, knn_softmax]}, "
        "objective.num_neighbours: {int: [1, 1000000000000]}, trainer.ema_decay: {choice: [0.9, 0.99], when: {seed: 7}}"
    )
    trials_of_a_seed = 1 + 63
    assert load(tmp_path, text).arms[1].count() == (10**12 + 1) * trials_of_a_seed


def test_of_very_many_probes_each_stands_once(tmp_path: Path) -> None:
    ends = "{int: [2, 90]}"
    keys = ("batch_size", "accumulate_steps", "log_every_steps", "keep_checkpoints", "checkpoint_every_steps")
    searched = ", ".join(f"trainer.{key}: {ends}" for key in keys)
    more = "trainer.max_steps: {int: [10, 99]}, seed: {int: [0, 7], when: {trainer.max_steps: 50}}"
    points = load(tmp_path, arm(f"{searched}, {more}")).arms[1].probe_points()
    assert len(points) < 40
    for path, both in [
        *((f"trainer.{key}", (2, 90)) for key in keys),
        ("trainer.max_steps", (10, 99)),
        ("seed", (0, 7)),
    ]:
        assert {*both} <= {point[path] for point in points if path in point}
    assert all(("seed" in point) == (point["trainer.max_steps"] == 50) for point in points)


def test_very_many_cases_are_refused(tmp_path: Path) -> None:
    ten = "{choice: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"
    keys = ("batch_size", "accumulate_steps", "log_every_steps", "max_steps", "keep_checkpoints")
    searched = ", ".join(f"trainer.{key}: {ten}" for key in keys)
    looked_at = ", ".join(f"trainer.{key}: 1" for key in keys)
    message = refusal(tmp_path, arm(f"{searched}, seed: {{choice: [1], when: {{{looked_at}}}}}"))
    assert message == (
        "arms.knn: its conditions tell more than 10,000 cases apart; take fewer values of trainer.batch_size, "
        "trainer.accumulate_steps, trainer.log_every_steps, trainer.max_steps, trainer.keep_checkpoints"
    )


def test_options_of_an_arm_stand_beside_its_overrides(tmp_path: Path) -> None:
    text = arm("reference: true, num_trials: 3, seed: {choice: [1, 2]}") + "search: {algorithm: random}\n"
    sweep = load(tmp_path, text)
    assert sweep.arms[1].options.num_trials == 3
    assert sweep.references == {"full", "knn"}
    assert list(sweep.arms[1].spaces) == ["seed"]
    assert load(tmp_path, arm("share: 0.5")).references == {"full"}


def test_options_of_an_arm_are_no_keys_of_a_trial() -> None:
    assert not set(ArmOptions.model_fields) & set(TrialConfig.model_fields)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("num_trials: 0", "num_trials: found 0; expected greater than or equal to 1"),
        ("share: 1.5", "share: found 1.5; expected less than or equal to 1"),
        ("reference: 1", "reference: found 1; expected a valid boolean"),
        ("num_trials: 2, share: 0.5", "num_trials and share do not go together"),
    ],
)
def test_wrong_options_of_an_arm(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, arm(line)) == f"s.yaml: arms.knn: {message}"


SEARCHED = arm(
    "objective: {num_neighbours: {choice: [3, 7, 99]}, similarity: {choice: [dot, l2]}, "
    "margin_weight: {choice: [0, 1]}}, optimizer.lr: {float: [0, 1.5], step: 0.5}, trainer.ema_decay: 0.5"
).replace("{float: [0, 1.5], step", "{float: [0.5, 1.5], step")


def with_points(*points: str) -> str:
    return f"{SEARCHED}search: {{algorithm: random, num_trials: 9, points: [{', '.join(points)}]}}\n"


def test_points_to_try_first(tmp_path: Path) -> None:
    nested = "{arm: knn, objective: {num_neighbours: 3, similarity: dot}, optimizer.lr: 1}"
    dotted = (
        "{arm: knn, objective.margin_weight: 0, optimizer.lr: 0.5, objective.num_neighbours: 7, "
        "objective.similarity: l2}"
    )
    full, knn = load(tmp_path, with_points(nested, dotted)).arms
    assert full.first_points == ()
    assert knn.first_points == (
        {"objective.num_neighbours": 3, "objective.similarity": "dot", "optimizer.lr": 1.0},
        {
            "objective.num_neighbours": 7,
            "objective.similarity": "l2",
            "objective.margin_weight": 0,
            "optimizer.lr": 0.5,
        },
    )


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{}", "arm: found None; one of the searched arms knn"),
        ("{arm: full}", "arm: found 'full'; one of the searched arms knn"),
        ("{arm: knn}", "objective.num_neighbours: is missing; a point has a value for all that is searched"),
        (
            "{arm: knn, optimizer.lrr: 1}",
            "optimizer.lrr: is not searched by arms.knn; did you mean optimizer.lr?",
        ),
        (
            "{arm: knn, objective.num_neighbours: 5}",
            "objective.num_neighbours: found 5; the space is {3, 7}",
        ),
        (
            "{arm: knn, objective.num_neighbours: 99}",
            "objective.num_neighbours: found 99; the space is {3, 7}",
        ),
        (
            "{arm: knn, objective: {num_neighbours: 3, similarity: dot, margin_weight: 1}, optimizer.lr: 0.7}",
            "optimizer.lr: found 0.7; the space is [0.5, 1.5, step 0.5]",
        ),
        (
            "{arm: knn, objective: {num_neighbours: 3, similarity: dot, margin_weight: 1}, optimizer.lr: 1}",
            "objective.margin_weight: is not searched in this point, but only where "
            "objective.similarity is l2 or cosine",
        ),
    ],
)
def test_a_wrong_point(tmp_path: Path, point: str, message: str) -> None:
    assert refusal(tmp_path, with_points(point)) == f"s.yaml: search.points.0: {message}"


def test_a_point_stands_once(tmp_path: Path) -> None:
    point = "{arm: knn, objective: {num_neighbours: 3, similarity: dot}, optimizer.lr: 1}"
    assert refusal(tmp_path, with_points(point, point)) == "s.yaml: search.points.1: stands twice"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("objective.name=sampled_softmax", False),  # knn's own
        ("objective.num_neighbours=3", True),  # searched by knn, without effect for full
        ("objective.num_random=3", True),  # without effect for either
        ("objective.embedding_dim=3", False),
        ("objective.margin=0.3", False),  # where knn's margin_weight is not 0
        ("trainer.ema_decay=0.9", True),  # set by knn, searched by full
        ("trainer.batch_size=3", False),  # left alone where full's seed is 2
        ("objective={name: sampled_softmax, num_neighbours: 3}", False),
        ("data.num_classes=70", False),
    ],
)
def test_an_override_that_changes_nothing_is_told(tmp_path: Path, argument: str, said: bool) -> None:
    text = f"""{HEAD}arms:
  full:
    objective.name: full_softmax
    trainer.ema_decay: {{choice: [0.5, 0.7]}}
    seed: {{choice: [1, 2]}}
    trainer.batch_size: {{choice: [4, 5], when: {{seed: 1}}}}
  knn:
    objective: {{num_neighbours: {{choice: [3, 7]}}, margin_weight: {{choice: [0, 1]}}}}
    trainer: {{ema_decay: 0.5, batch_size: 7}}
"""
    found = load(tmp_path, text, argument).warnings
    said_of = f"{argument}: changes nothing; each arm sets it itself or does not look at it"
    assert found == ((said_of,) if said else ())


@pytest.mark.parametrize("name", [["a"], {}])
def test_a_point_of_no_arm(tmp_path: Path, name: object) -> None:
    arms = {"full": {"objective.name": "full_softmax", "seed": {"choice": [1, 2]}}}
    search = {"algorithm": "random", "num_trials": 2, "points": [{"arm": name, "seed": 1}]}
    with pytest.raises(InputError, match=r"search\.points\.0"):
        tiny_sweep(tmp_path, arms=arms, search=search)


def test_a_condition_on_a_relative_path_of_the_base(tmp_path: Path) -> None:
    """Paths are made absolute for the trials; a condition means what is written."""
    base = {**TINY_TRIAL, "data": {"name": "folder", "root": "some/where", "crop_size": 32}}
    space = {"choice": [1, 2], "when": {"data.root": "some/where"}}
    sweep = tiny_sweep(tmp_path, base=base, arms={"full": {"objective.name": "full_softmax", "seed": space}})
    assert [point["seed"] for point in sweep.arms[0].points()] == [1, 2]
    assert sweep.trial_config({}).data.root != "some/where"

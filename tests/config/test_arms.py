"""Arms: conditions, points, numbers of classes, options."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.coco_lvis.label_space import NUM_CLASSES as COCO_LVIS_CLASSES
from essnet.config import Sweep, TrialConfig
from essnet.config.conditions import HAS_EFFECT, NUM_CLASSES
from essnet.config.sweep import ArmOptions
from essnet.config.trial_keys import can_be, key_paths
from essnet.data.official_classes import official_classes
from tests.config.sweep_files import arm, load
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


def test_options_of_an_arm_stand_beside_its_overrides(tmp_path: Path) -> None:
    text = arm("reference: true, num_trials: 3, seed: {choice: [1, 2]}") + "search: {algorithm: random}\n"
    sweep = load(tmp_path, text)
    assert sweep.arms[1].options.num_trials == 3
    assert sweep.references == {"full", "knn"}
    assert list(sweep.arms[1].spaces) == ["seed"]
    assert load(tmp_path, arm("share: 0.5")).references == {"full"}


def test_options_of_an_arm_are_no_keys_of_a_trial() -> None:
    assert not set(ArmOptions.model_fields) & set(TrialConfig.model_fields)


def test_a_condition_on_a_relative_path_of_the_base(tmp_path: Path) -> None:
    """Paths are made absolute for the trials; a condition means what is written."""
    base = {**TINY_TRIAL, "data": {"name": "folder", "root": "some/where", "crop_size": 32}}
    space = {"choice": [1, 2], "when": {"data.root": "some/where"}}
    sweep = tiny_sweep(tmp_path, base=base, arms={"full": {"objective.name": "full_softmax", "seed": space}})
    assert [point["seed"] for point in sweep.arms[0].points()] == [1, 2]
    assert sweep.trial_config({}).data.root != "some/where"

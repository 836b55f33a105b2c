"""What is refused of arms and points, and what is told of overrides that change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import TRIAL
from tests.config.sweep_files import HEAD, arm, load, refusal


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "objective.num_neighbors: 3",
            ": objective.num_neighbors: unknown key; did you mean objective.num_neighbours?",
        ),
        (
            "objective: {num_neighbors: 3}",
            ": objective.num_neighbors: unknown key; did you mean objective.num_neighbours?",
        ),
        ("objectiv.name: full_softmax", ": objectiv: unknown key; did you mean objective?"),
        (
            "objective.num_neighbors: {choice: [1, 2]}",
            ": objective.num_neighbors: unknown key; did you mean objective.num_neighbours?",
        ),
        (
            "objective.num_neighbours: {choice: [7, 31, -1]}",
            ": objective.num_neighbours: found -1; expected greater than or equal to 0",
        ),
        (
            "objective.num_neighbours: {choice: [1, true]}",
            ": objective.num_neighbours: found True; expected a valid integer",
        ),
        ("optimizer.lr: {float: [0, 1]}", ": optimizer.lr: found 0.0; expected greater than 0"),
        ("optimizer.lr: {floot: [0, 1]}", ": optimizer.lr: found {'floot': [0, 1]}; expected a valid number"),
        (
            "objective: {num_neighbours: {int: [5, 1]}}",
            ".objective.num_neighbours: found [5, 1]; expected [low, high] with low < high",
        ),
        (
            "data.name: {choice: [[a, b]]}, objective.num_neighbours: {int: [1, 3]}",
            ": data.name: found ['a', 'b']; known are ade20k, cityscapes, coco_lvis, coco_stuff, coco_stuff10k, "
            "folder, package.module:attribute, textures, voc",
        ),
        ("objective: 3", ": objective: found 3; expected a block of keys"),
        ("objective.name.x: 1", ": objective.name.x: objective.name is the value 'knn_softmax', not a block of keys"),
        (
            "objective.name: knn_softmax, objective: {name: full_softmax}",
            ": objective.name: written twice, dotted and nested",
        ),
        (
            "objective.name: knn_softmax, objective: {name: {choice: [full_softmax]}}",
            ": objective.name: written twice, dotted and nested",
        ),
        (
            "objective: {similarity: dot, renormalise: true}",
            ": objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing",
        ),
        (  # what makes the one combination impossible is fixed
            "objective: {similarity: {choice: [l2, dot]}, renormalise: true}",
            ": objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing "
            "(at objective.similarity=dot)",
        ),
        (  # only one of the four combinations is impossible
            "trainer: {device: {choice: [cpu, auto]}, precision: {choice: [float32, float16]}}",
            ": trainer: precision=float16 needs a GPU, and device is cpu; take bfloat16 or float32 "
            "(at trainer.device=cpu, trainer.precision=float16); a `when` on trainer.precision can leave it out there",
        ),
        (  # both ends are possible, what lies between is not
            "model.output_stride: 16, data.crop_size: {int: [32, 64]}",
            ": data.crop_size=33 must be divisible by model.output_stride=16; nearest is 32 (at data.crop_size=33)",
        ),
        (  # neither the ends nor what is next to them: each point is looked at
            "model.output_stride: 16, data.crop_size: {choice: [32, 64, 96, 100, 112, 128]}",
            ": data.crop_size=100 must be divisible by model.output_stride=16; nearest is 96 (at data.crop_size=100)",
        ),
        (
            "choice: [1, 2]",
            ": choice: unknown key; known are data, evaluation, model, name, objective, optimizer, "
            "schedule, seed, tracking, trainer",
        ),
        (
            "seed: {choice: [1], when: {objective.similarty: l2}}",
            ".seed.when: objective.similarty: unknown key; did you mean objective.similarity?",
        ),
        (
            "seed: {choice: [1], when: {objective.similarity: l3}}",
            ".seed.when: objective.similarity: can never be 'l3'",
        ),
        ("seed: {choice: [1], when: {trainer.batch_size: 0}}", ".seed.when: trainer.batch_size: can never be 0"),
        ("seed: {choice: [1], when: {trainer.compile: 1}}", ".seed.when: trainer.compile: can never be 1"),
        (
            "seed: {choice: [1], when: {trainer.batch_size: [2, 3]}}, trainer.batch_size: {int: [2, 8], step: 2}",
            ".seed.when: trainer.batch_size: can never be 3; it is searched in [2, 8, step 2]",
        ),
        (
            "seed: {choice: [1], when: {objective.similarity: dot}}",
            ".seed: is searched in no trial of the arm; it needs objective.similarity is dot",
        ),
        (
            "objective.name: embedding_softmax, objective.num_random: {choice: [1, 2]}",
            ".objective.num_random: is searched in no trial of the arm; it needs objective.name is sampled_softmax",
        ),
        (  # each condition holds somewhere, and never both
            "objective.name: {choice: [embedding_softmax, sampled_softmax]}, "
            "objective.num_random: {choice: [1], when: {objective.name: embedding_softmax}}",
            ".objective.num_random: is searched in no trial of the arm; it needs objective.name is sampled_softmax "
            "and objective.name is embedding_softmax",
        ),
        (
            "data.num_classes: 4, objective.num_neighbours: {choice: [7, 15]}",
            ".objective.num_neighbours: nothing remains of {7, 15}; neighbours are other classes, "
            "at most data.num_classes - 1",
        ),
        ("seed: {choice: [1], when: {seed: 1}}", ": the conditions go round in a circle: seed needs seed"),
        (
            "seed: {choice: [1], when: {optimizer.lr: 1}}, optimizer.lr: {choice: [1], when: {seed: 1}}",
            ": the conditions go round in a circle: seed needs optimizer.lr needs seed",
        ),
        (
            "objective: {name: {choice: [knn_softmax], when: {objective.num_neighbours: 3}}, "
            "num_neighbours: {choice: [3]}}",
            ": the conditions go round in a circle: objective.name needs objective.num_neighbours needs objective.name",
        ),
        ("num_trials: 0", ": num_trials: found 0; expected greater than or equal to 1"),
        ("share: 1.5", ": share: found 1.5; expected less than or equal to 1"),
        ("reference: 1", ": reference: found 1; expected a valid boolean"),
        ("num_trials: 2, share: 0.5", ": num_trials and share do not go together"),
    ],
)
def test_a_wrong_arm(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, arm(line)) == f"s.yaml: arms.knn{message}"


BAD_CROP = "data: {name: textures, crop_size: 33}\nobjective: {name: knn_softmax}\nmodel: {output_stride: 16}\n"
BAD_CROP_MESSAGE = "data.crop_size=33 must be divisible by model.output_stride=16; nearest is 32"
BAD_DEVICE = f"{TRIAL}trainer: {{device: cpu, precision: float16}}\n"
BAD_DEVICE_MESSAGE = "trainer: precision=float16 needs a GPU, and device is cpu; take bfloat16 or float32"
DOT_MESSAGE = "objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing"


@pytest.mark.parametrize(
    ("base", "line", "message"),
    [
        # What is searched has to do with it.
        (
            TRIAL,
            "data.name: {choice: [textures, folder]}",
            "s.yaml: arms.full: data.root: is missing (at data.name=folder)",
        ),
        (
            TRIAL,
            "data: {name: {choice: [folder, textures]}, root: r}",
            "s.yaml: arms.full: data.root: unknown key; known are data.crop_size, data.long_tail, data.name, "
            "data.num_classes, data.num_workers, data.sampling, data.seed, data.test_images, data.train_images, "
            "data.val_images (at data.name=textures)",
        ),
        (
            BAD_DEVICE,
            "trainer.device: {choice: [auto, cpu]}",
            f"s.yaml: arms.full: {BAD_DEVICE_MESSAGE} (at trainer.device=cpu)",
        ),
        (
            f"{TRIAL}trainer: {{max_steps: 0}}\n",
            "objective: {similarity: {choice: [dot, l2]}, renormalise: true}",
            f"s.yaml: arms.full: {DOT_MESSAGE} (and 1 more) (at objective.similarity=dot)",
        ),
        (
            f"{TRIAL}evaluation: {{every_steps: 0}}\n",
            "trainer: {device: {choice: [cpu, auto]}, precision: {choice: [float16, float32]}}",
            f"s.yaml: arms.full: {BAD_DEVICE_MESSAGE} (and 1 more) (at trainer.device=cpu, trainer.precision=float16); "
            "a `when` on trainer.precision can leave it out there",
        ),
        (  # no `when` makes 33 right: it is right with neither stride
            BAD_CROP,
            "model.output_stride: {choice: [8, 16]}, data.crop_size: {choice: [33, 32]}",
            "s.yaml: arms.full: data.crop_size=33 must be divisible by model.output_stride=8; nearest is 32 "
            "(at model.output_stride=8, data.crop_size=33)",
        ),
        # What the arm fixes has.
        (TRIAL, "data.name: folder", "s.yaml: arms.full: data.root: is missing"),
        (BAD_CROP, "data.crop_size: 35", f"s.yaml: arms.full: {BAD_CROP_MESSAGE.replace('33', '35')}"),
        (
            f"{TRIAL}optimizer: {{lr: -1}}\n",
            "optimizer.lr: -2",
            "s.yaml: arms.full: optimizer.lr: found -2; expected greater than 0",
        ),
        (
            f"{TRIAL}optimizer: {{lr: -1}}\n",
            "optimizer.lr: {choice: [-1]}",
            "s.yaml: arms.full: optimizer.lr: found -1; expected greater than 0",
        ),
        # The base trial is wrong by itself.
        (BAD_DEVICE, "trainer.max_steps: 5", f"base.yaml: {BAD_DEVICE_MESSAGE}"),
        (BAD_CROP, "trainer.max_steps: 5", f"base.yaml: {BAD_CROP_MESSAGE}"),
        (BAD_CROP, "optimizer.lr: {choice: [0.1, -1]}", f"base.yaml: {BAD_CROP_MESSAGE}"),
    ],
)
def test_a_refusal_names_what_has_to_change(tmp_path: Path, base: str, line: str, message: str) -> None:
    assert refusal(tmp_path, f"{HEAD}arms: {{full: {{{line}}}}}\n", base=base) == message


def test_very_many_cases_are_refused(tmp_path: Path) -> None:
    ten = "{choice: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"
    keys = ("batch_size", "accumulate_steps", "log_every_steps", "max_steps", "keep_checkpoints")
    searched = ", ".join(f"trainer.{key}: {ten}" for key in keys)
    looked_at = ", ".join(f"trainer.{key}: 1" for key in keys)
    message = refusal(tmp_path, arm(f"{searched}, seed: {{choice: [1], when: {{{looked_at}}}}}"))
    assert message == (
        "s.yaml: arms.knn: its conditions tell more than 10,000 cases apart; take fewer values of trainer.batch_size, "
        "trainer.accumulate_steps, trainer.log_every_steps, trainer.max_steps, trainer.keep_checkpoints"
    )


SEARCHED = arm(
    "objective: {num_neighbours: {choice: [3, 7, 99]}, similarity: {choice: [dot, l2]}, "
    "margin_weight: {choice: [0, 1]}}, optimizer.lr: {float: [0.5, 1.5], step: 0.5}, trainer.ema_decay: 0.5"
)


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
        ("{arm: [knn]}", "arm: found ['knn']; one of the searched arms knn"),
        ("{arm: {}}", "arm: found {}; one of the searched arms knn"),
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

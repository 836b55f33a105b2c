from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from essnet.config import FolderData, InputError, TexturesData, TrialConfig, load_trial, to_yaml, trial_from_mapping
from tests.config.files import FOLDER_TRIAL, TRIAL, write

BLOCKS = "data, evaluation, model, name, objective, optimizer, schedule, seed, tracking, trainer"
DATA_NAMES = (
    "textures", "folder", "voc", "ade20k", "cityscapes", "coco_stuff10k", "coco_stuff", "coco_lvis",
    "package.module:attribute",
)  # fmt: skip


def refusal(tmp_path: Path, *arguments: str, text: str = TRIAL) -> str:
    """The message for a trial and its overrides, with the file's name shortened."""
    path = write(tmp_path / "t.yaml", text)
    with pytest.raises(InputError) as error:
        load_trial(path, arguments)
    return str(error.value).replace(str(path), "t.yaml")


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    config = load_trial(write(tmp_path / "t.yaml", TRIAL))
    assert isinstance(config.data, TexturesData)
    assert (config.data.num_classes, config.data.crop_height_width) == (64, (64, 64))
    objective = config.objective
    assert (objective.similarity, objective.logit_scale, objective.margin) == ("l2", 20.0, 0.2)
    assert (config.trainer.device, config.evaluation.split, config.tracking.experiment) == ("auto", "val", "essnet")


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yaml", TRIAL)
    config = load_trial(
        path, ["objective.embedding_dim=4", "optimizer={name: adamw, lr: 4e-3}", "data.crop_size=[32,48]"]
    )
    assert config.objective.embedding_dim == 4
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", 4e-3)
    assert config.data.crop_height_width == (32, 48)


def test_root_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write(tmp_path / "t.yaml", FOLDER_TRIAL)
    for argument, root in (("pictures", "pictures"), ("../x", "../x"), ("~/y", "home/y"), ("/z", "/z")):
        data = load_trial(path, [f"data.root={argument}"]).data
        assert isinstance(data, FolderData)
        assert data.root == str(tmp_path / root)


def test_initial_weights_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write(tmp_path / "t.yaml", TRIAL)
    for argument, folder in (("runs/best", "runs/best"), ("~/y", "home/y"), ("/z", "/z")):
        model = load_trial(path, [f"model.initial_weights={argument}"]).model
        assert model.initial_weights == str(tmp_path / folder)


def test_a_configuration_without_the_later_keys_means_what_it_meant(tmp_path: Path) -> None:
    """Those of earlier checkpoints: PolynomialLR alone, weight decay on all, the library's network, trained whole."""
    config = load_trial(write(tmp_path / "t.yaml", TRIAL))
    assert (config.schedule.name, config.schedule.warmup_steps) == ("poly", 0)
    assert (config.optimizer.class_embeddings_weight_decay, config.optimizer.decay_norm_and_bias) == (None, True)
    model = config.model
    assert (model.separable_convolutions, model.batch_norm_momentum, model.initial_weights) == (None, None, None)
    assert not model.freeze_encoder


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        # Misspelt, at each depth.
        ("objectiv.name=x", "objectiv: unknown key; did you mean objective?"),
        ("objective.num_neighbors=3", "objective.num_neighbors: unknown key; did you mean objective.num_neighbours?"),
        ("trainer.max_step=1", "trainer.max_step: unknown key; did you mean trainer.max_steps?"),
        ("data.num_class=2", "data.num_class: unknown key; did you mean data.num_classes?"),
        ("model={encodr: x}", "model.encodr: unknown key; did you mean model.encoder?"),
        ("foo.bar=1", f"foo: unknown key; known are {BLOCKS}"),
        (
            "tracking.foo=1",
            "tracking.foo: unknown key; known are tracking.experiment, tracking.log_model, tracking.register, "
            "tracking.uri",
        ),
        # Wrong types; a bool is no number, a number is no bool.
        ("trainer.max_steps=many", "trainer.max_steps: found 'many'; expected a valid integer"),
        ("trainer.max_steps=1.5", "trainer.max_steps: found 1.5; expected a valid integer"),
        ("trainer.max_steps='7'", "trainer.max_steps: found '7'; expected a valid integer"),
        ("trainer.max_steps=true", "trainer.max_steps: found True; expected a valid integer"),
        ("optimizer.lr=true", "optimizer.lr: found True; expected a valid number"),
        ("optimizer.lr=", "optimizer.lr: found None; expected a valid number"),
        ("objective.renormalise=1", "objective.renormalise: found 1; expected a valid boolean"),
        ("objective.renormalise=yes", "objective.renormalise: found 'yes'; expected a valid boolean"),
        ("model.encoder=18", "model.encoder: found 18; expected a valid string"),
        ("model=3", "model: found 3; expected a block of keys"),
        ("model=", "model: found None; expected a block of keys"),
        ("data=[textures]", "data: found ['textures']; expected a block of keys"),
        # Impossible values.
        ("optimizer.lr=.nan", "optimizer.lr: found nan; expected a finite number"),
        ("optimizer.lr=-.inf", "optimizer.lr: found -inf; expected a finite number"),
        ("optimizer.lr=1e400", "optimizer.lr: found inf; expected a finite number"),
        ("optimizer.lr=0", "optimizer.lr: found 0; expected greater than 0"),
        ("objective.margin=-0.1", "objective.margin: found -0.1; expected greater than or equal to 0"),
        ("seed=-1", "seed: found -1; expected greater than or equal to 0"),
        ("optimizer.momentum=1", "optimizer.momentum: found 1; expected less than 1"),
        ("data.num_classes=65537", "data.num_classes: found 65537; expected less than or equal to 65536"),
        ("tracking.experiment=''", "tracking.experiment: found ''; expected at least 1 character"),
        (
            "tracking.register=a/b",
            "tracking.register: found 'a/b'; a model's name has 1 to 200 characters, none of them '/', ':' or '%'",
        ),
        (
            "tracking={register: street, log_model: none}",
            "tracking: register=street needs log_model=best; a model that is not kept has no version",
        ),
        (
            "name=../up",
            "name: found '../up'; it becomes a folder's name: letters, digits, '.', '_', '-', at most 100",
        ),
        ("trainer.device=gpu", "trainer.device: found 'gpu'; one of auto, cpu, cuda, cuda:0, cuda:1, ..."),
        ("trainer.device=cuda:-1", "trainer.device: found 'cuda:-1'; one of auto, cpu, cuda, cuda:0, cuda:1, ..."),
        ("data.crop_size=0", "data.crop_size: found 0; expected a whole number of pixels, or [height, width]"),
        ("data.crop_size=[64]", "data.crop_size: found [64]; expected a whole number of pixels, or [height, width]"),
        (
            "data.crop_size=[64, true]",
            "data.crop_size: found [64, True]; expected a whole number of pixels, or [height, width]",
        ),
        # One of several words.
        (
            "objective.name=softmax",
            "objective.name: found 'softmax'; one of full_softmax, knn_softmax, embedding_softmax, sampled_softmax, "
            "package.module:attribute",
        ),
        ("objective.similarity=L2", "objective.similarity: found 'L2'; one of 'l2', 'cosine' or 'dot'"),
        ("model.output_stride=32", "model.output_stride: found 32; one of 8 or 16"),
        ("model.output_stride=true", "model.output_stride: found True; one of 8 or 16"),
        # The block that is chosen by its name.
        ("data.name=texture", "data.name: found 'texture'; did you mean textures?"),
        ("data.name=imagenet", f"data.name: found 'imagenet'; known are {', '.join(sorted(DATA_NAMES))}"),
        ("data.name=", f"data.name: found None; known are {', '.join(sorted(DATA_NAMES))}"),
        ("data={}", f"data.name: is missing; one of {', '.join(DATA_NAMES)}"),
        ("data={name: folder}", "data.root: is missing"),
        (
            "data={name: folder, root: ~nobody-of-this-name/x}",
            "data.root: found '~nobody-of-this-name/x'; there is no such home folder",
        ),
        ("data={name: folder, root: x, scale: [1]}", "data.scale: found [1]; expected at least 2 items"),
        (
            "data={name: folder, root: x, scale: [0, 1]}",
            "data.scale.0: found 0; expected greater than or equal to 0.01",
        ),
        (
            "data={name: folder, root: x, scale: [2, 1]}",
            "data.scale: found [2.0, 1.0]; the smallest factor comes first",
        ),
        (
            "data.root=x",
            "data.root: unknown key; known are data.crop_size, data.long_tail, data.name, data.num_classes, "
            "data.num_workers, data.sampling, data.seed, data.test_images, data.train_images, data.val_images",
        ),
        (
            "schedule.name=polynomial",
            "schedule.name: found 'polynomial'; one of 'poly', 'multi_poly', 'step', 'cosine' or 'one_cycle'",
        ),
        ("schedule.drop_factor=1.5", "schedule.drop_factor: found 1.5; expected less than or equal to 1"),
        ("schedule.drop_every_steps=0", "schedule.drop_every_steps: found 0; expected greater than or equal to 1"),
        ("schedule.warmup_steps=-1", "schedule.warmup_steps: found -1; expected greater than or equal to 0"),
        (
            "optimizer.class_embeddings_weight_decay=-1",
            "optimizer.class_embeddings_weight_decay: found -1; expected greater than or equal to 0",
        ),
        ("model.batch_norm_momentum=0", "model.batch_norm_momentum: found 0; expected greater than 0"),
        ("model.freeze_encoder=1", "model.freeze_encoder: found 1; expected a valid boolean"),
        ("model.separable_convolutions=yes", "model.separable_convolutions: found 'yes'; expected a valid boolean"),
        ("model.initial_weights=''", "model.initial_weights: found ''; expected at least 1 character"),
        (
            "model.initial_weights=~nobody-of-this-name/x",
            "model.initial_weights: found '~nobody-of-this-name/x'; there is no such home folder",
        ),
        # Fields that do not go together.
        ("objective.num_neighbours=0", "objective: num_neighbours=0 must be at least 1 for knn_softmax"),
        # More than one problem.
        (
            "trainer={max_steps: 0, batch_size: 0}",
            "trainer.max_steps: found 0; expected greater than or equal to 1 (and 1 more)",
        ),
    ],
)
def test_refused_on_the_command_line(tmp_path: Path, argument: str, message: str) -> None:
    assert refusal(tmp_path, argument) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("objective.learn_logit_scale=true", "objective.similarity=dot"),
            "objective: learn_logit_scale=true needs similarity=l2 or cosine; dot has no logit_scale",
        ),
        (
            ("objective.renormalise=true", "objective.similarity=dot"),
            "objective: renormalise=true needs similarity=l2 or cosine; dot normalises nothing",
        ),
        (
            ("objective.name=sampled_softmax", "objective.num_neighbours=0", "objective.num_random=0"),
            "objective: num_neighbours=0 and num_random=0 leave sampled_softmax nothing to tell the target from",
        ),
        (
            ("model.output_stride=16", "data.crop_size=60"),
            "t.yaml: data.crop_size=60 must be divisible by model.output_stride=16; nearest is 64",
        ),
        (
            ("model.output_stride=8", "data.crop_size=[64, 3]"),
            "t.yaml: data.crop_size=[64, 3] must be divisible by model.output_stride=8; nearest is 8",
        ),
        (
            ("schedule.name=one_cycle", "schedule.warmup_steps=5"),
            "schedule: warmup_steps=5 needs another schedule; one_cycle rises over warmup_fraction",
        ),
        (("name.x=1",), "name.x: name is the value 't', not a block of keys"),
    ],
)
def test_refused_together(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert refusal(tmp_path, *arguments) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: t\n", "t.yaml: data: is missing (and 1 more)"),
        (TRIAL + "objectiv: {}\n", "t.yaml: objectiv: unknown key; did you mean objective?"),
        (TRIAL + "model.encoder: resnet18\n", f"t.yaml: model.encoder: unknown key; known are {BLOCKS}"),
        (TRIAL + "optimizer: {lr: .nan}\n", "t.yaml: optimizer.lr: found nan; expected a finite number"),
        (TRIAL + "arms: {}\n", "t.yaml: is a sweep (it has arms); run it with `launch.py sweep`, or train its base"),
        (TRIAL + "seed: " + "[" * 40 + "]" * 40, "t.yaml: seed: found [[[[[[[...]]]]]]]; expected a valid integer"),
    ],
)
def test_refused_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text=text) == message


def test_the_file_is_blamed_for_its_own_faults_only(tmp_path: Path) -> None:
    broken = TRIAL + "optimizer: {lr: -1}\n"
    assert refusal(tmp_path, "seed=1", text=broken).startswith("t.yaml: optimizer.lr: ")
    assert refusal(tmp_path, "optimizer.lr=-2").startswith("optimizer.lr: ")


def test_a_huge_value_makes_a_short_message(tmp_path: Path) -> None:
    """Each alias doubles the value: its whole text would have 2**14 words."""
    levels = "".join(f"  - &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 15))
    message = refusal(tmp_path, text=f"{TRIAL}seed:\n  - &a0 x\n{levels}")
    assert message.startswith("t.yaml: seed: found ['x', ")
    assert len(message) < 200


_optional = st.none() | st.integers(1, 1000)
_rates = st.floats(1e-12, 1e12)
_trials: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        "seed": st.integers(0, 2**63 - 1),
        "data": st.fixed_dictionaries({"name": st.just("textures"), "num_classes": st.integers(1, 2000)})
        | st.fixed_dictionaries(
            {
                "name": st.just("folder"),
                "root": st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map("/data/".__add__),
                "ignore_value": st.none() | st.integers(0, 65535),
                "crop_size": st.integers(1, 999) | st.lists(st.integers(1, 999), min_size=2, max_size=2),
                "flip": st.floats(0, 1),
            }
        ),
        "objective": st.fixed_dictionaries(
            {
                "name": st.sampled_from(["full_softmax", "knn_softmax", "embedding_softmax", "sampled_softmax"]),
                "num_neighbours": st.integers(1, 99),
                "logit_scale": _rates,
            }
        ),
        "optimizer": st.fixed_dictionaries({"lr": _rates}),
        "trainer": st.fixed_dictionaries({"num_threads": _optional, "device": st.sampled_from(["cpu", "cuda:3"])}),
        "tracking": st.fixed_dictionaries(
            {
                "uri": st.none() | st.text(min_size=1),
                "experiment": st.text(min_size=1) | st.sampled_from(["on", "1e-4", "~"]),
            }
        ),
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_trials)
def test_yaml_of_a_trial_loads_to_the_same_trial(tmp_path: Path, values: dict[str, Any]) -> None:
    config = trial_from_mapping(values, (), source="t.yaml")
    path = write(tmp_path / "t.yaml", to_yaml(config))
    again = load_trial(path)
    assert isinstance(again, TrialConfig)
    assert again == config
    assert to_yaml(again) == to_yaml(config)

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from essnet.cli.app import main
from essnet.config import InputError
from essnet.config.strict_yaml import dump_yaml, load_yaml_mapping
from essnet.data import TexturesDataset, build_dataset, eval_loader
from essnet.labels import IGNORE_INDEX
from essnet.metrics import ConfusionCounts
from essnet.models import SegmentationModel
from essnet.training.evaluation import Evaluation, count_batches
from essnet.training.trainer import Trainer
from essnet.training.trial import build_trial
from tests.data.fixtures import make_folder_dataset
from tests.oracles import confusion_matrix, segmentation_metrics
from tests.training.tiny import NUM_CLASSES, OBJECTIVES, assert_same, tiny_trial

CPU = torch.device("cpu")
Pairs = list[tuple[Tensor, Tensor]]


def model_of(objective: str) -> SegmentationModel:
    model = build_trial(tiny_trial({"objective.name": objective}), cache_dir=None).model
    with torch.no_grad():
        for parameter in model.output_layer.parameters():
            parameter.mul_(3.0)  # so that more than one class is predicted
    return model.eval()


def measured(model: SegmentationModel, batches: Pairs) -> dict[str, float]:
    counts = ConfusionCounts(NUM_CLASSES)
    loss = count_batches(model, batches, counts=counts, device=CPU)
    return {"val/loss": loss, **{f"val/{name}": value for name, value in counts.compute().items()}}


def random_pairs(count: int, size: int = 32) -> Pairs:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randint(256, (3, size, size), generator=generator).to(torch.uint8),
            torch.randint(IGNORE_INDEX, NUM_CLASSES, (size, size), generator=generator),
        )
        for _ in range(count)
    ]


def batched(pairs: Pairs, size: int) -> Pairs:
    parts = [zip(*pairs[begin : begin + size], strict=True) for begin in range(0, len(pairs), size)]
    return [(torch.stack(images), torch.stack(targets)) for images, targets in parts]


@torch.no_grad()
def naive(model: SegmentationModel, pairs: Pairs) -> dict[str, float]:
    """Image by image: one matrix, and each image's loss by its pixels."""
    matrix, loss, pixels = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.int64), 0.0, 0
    for image, target in pairs:
        outputs = model(image[None])
        valid = int((target != IGNORE_INDEX).sum())
        if valid:
            loss += float(model.output_layer.loss(outputs, target[None])) * valid
        pixels += valid
        matrix += confusion_matrix(
            model.output_layer.predict(outputs, (target.shape[0], target.shape[1]))[0], target, NUM_CLASSES
        )
    metrics = {f"val/{name}": value for name, value in segmentation_metrics(matrix).items()}
    return {"val/loss": loss / pixels, **metrics}


@pytest.mark.parametrize("objective", ["full_softmax", "knn_softmax", "embedding_softmax"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_evaluate_equals_a_loop_over_images_however_they_are_batched(objective: str, batch_size: int) -> None:
    model, pairs = model_of(objective), random_pairs(7)
    pairs[2][1][5:] = IGNORE_INDEX  # images count by their valid pixels
    pairs[4][1][:] = IGNORE_INDEX
    found = measured(model, batched(pairs, batch_size))
    assert found == pytest.approx(naive(model, pairs), rel=1e-5)


def test_metrics_of_sampled_softmax_do_not_depend_on_batches_either() -> None:
    # Only its loss does: each batch draws its own negatives.
    model, pairs = model_of("sampled_softmax"), random_pairs(5)
    found = [measured(model, batched(pairs, size)) for size in (1, 5)]
    assert all(metrics.pop("val/loss") > 0 for metrics in found)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_evaluating_twice_gives_the_same_and_draws_nothing() -> None:
    model, batches = model_of("sampled_softmax"), batched(random_pairs(4), 2)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = measured(model, batches)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert measured(model, batches) == first


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_model_as_it_was(training: bool) -> None:
    model = model_of("full_softmax").train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measured(model, batched(random_pairs(2), 2))
    assert model.training is training
    assert_same(dict(model.state_dict()), before)


def test_a_split_without_a_valid_pixel_is_zero() -> None:
    images = torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
    targets = torch.full((2, 32, 32), IGNORE_INDEX)
    found = measured(model_of("full_softmax"), [(images, targets)])
    names = ("loss", "miou", "mean_accuracy", "pixel_accuracy", "fw_iou")
    assert found == {f"val/{name}": 0.0 for name in names}


def test_images_of_different_sizes(tmp_path: Path) -> None:
    # One by one, each is padded to the stride only; in a batch, to the largest: other inputs, and so other numbers,
    # but the same pixels count.
    model = model_of("full_softmax")
    roots = [make_folder_dataset(tmp_path / str(size), num_images=2, size=size) for size in ((20, 33), (50, 16))]
    for index, path in enumerate(sorted((roots[1] / "images" / "val").iterdir())):
        path.rename(roots[0] / "images" / "val" / f"other{index}.png")
    for index, path in enumerate(sorted((roots[1] / "masks" / "val").iterdir())):
        path.rename(roots[0] / "masks" / "val" / f"other{index}.png")
    config = tiny_trial({"data": {"name": "folder", "root": str(roots[0]), "crop_size": 32}})
    data = build_dataset(config.data, "val")
    assert len(data) == 4

    def loader(batch_size: int) -> Pairs:
        return list(eval_loader(data, batch_size=batch_size, multiple=model.stride_multiple))

    single = measured(model, loader(1))
    padded = [(images[0], targets[0]) for images, targets in loader(1)]
    assert single == pytest.approx(naive(model, padded), rel=1e-5)
    together = loader(4)[0]
    assert together[0].shape[-2:] == (64, 48)
    assert int((together[1] != IGNORE_INDEX).sum()) == 2 * (20 * 33 + 50 * 16)
    assert measured(model, [together])["val/loss"] == pytest.approx(single["val/loss"], rel=0.5)


PROTOCOLS: dict[str, dict[str, Any]] = {
    "full": {},
    "center-crop": {"evaluation.protocol": "center_crop"},
    "sliding": {"evaluation.protocol": "sliding"},
    "scales-and-flip": {"evaluation.scales": [0.5, 1.0, 1.5], "evaluation.flip": True},
    "all-of-it": {"evaluation.protocol": "sliding", "evaluation.scales": [1.0, 1.5], "evaluation.flip": True},
}


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `evaluate --json` says."""
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *arguments, "--json"])
    captured = capsys.readouterr()
    assert exit_.value.code == 0, captured.err
    said: dict[str, Any] = json.loads(captured.out.splitlines()[-1])
    return said


def of_the_split(metrics: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if key.startswith("val/")}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_trainers_figures_are_those_of_the_command(
    tmp_path: Path, objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # To the last digit.
    result = Trainer(tiny_trial({"objective.name": objective}), directory=tmp_path / "run").train()
    said = command(capsys, str(result.best_checkpoint), "--output", str(tmp_path))
    assert said["metrics"] == of_the_split(result.metrics)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two sizes, larger than a crop of 32 pixels."""
    root = make_folder_dataset(tmp_path_factory.mktemp("pictures"), num_images=4, size=(40, 56), num_classes=3)
    other = make_folder_dataset(tmp_path_factory.mktemp("other"), num_images=2, size=(37, 41), num_classes=3)
    for kind in ("images", "masks"):
        for path in (other / kind / "val").iterdir():
            path.rename(root / kind / "val" / f"other-{path.name}")
    return root


def of_pictures(pictures: Path, objective: str, changes: dict[str, Any]) -> dict[str, Any]:
    data = {"name": "folder", "root": str(pictures), "crop_size": 32}
    return {"data": data, "objective.name": objective, "trainer.max_steps": 2, "evaluation.batch_size": 4, **changes}


@pytest.mark.parametrize("objective", ["full_softmax", "embedding_softmax"])
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_under_each_protocol_too_and_both_agree_with_torchmetrics(
    pictures: Path, tmp_path: Path, objective: str, protocol: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_trial(of_pictures(pictures, objective, protocol))
    trainer = Trainer(config, directory=tmp_path / "run")
    result = trainer.train()
    said = command(capsys, str(result.best_checkpoint), "--output", str(tmp_path))
    assert said["metrics"] == of_the_split(result.metrics)
    assert math.isfinite(said["metrics"]["val/loss"])

    theirs = MulticlassJaccardIndex(3, average="macro", ignore_index=IGNORE_INDEX)
    evaluation = Evaluation(config, trainer.trial.eval_data, model=trainer.trial.model, device=CPU)
    again = evaluation.run(
        trainer.trial.model, see=lambda images, targets, predictions: theirs.update(predictions, targets)
    )
    assert again.metrics == said["metrics"]
    assert float(theirs.compute()) == pytest.approx(said["metrics"]["val/miou"], abs=1e-6)


def test_protocols_are_chosen_on_the_command_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(
        Trainer(tiny_trial(of_pictures(pictures, "full_softmax", {})), directory=tmp_path / "run")
        .train()
        .last_checkpoint
    )
    losses = set()
    for protocol in PROTOCOLS.values():
        arguments = [f"{key}={json.dumps(value)}" for key, value in protocol.items()]
        losses.add(command(capsys, checkpoint, *arguments, "--output", str(tmp_path))["metrics"]["val/loss"])
    assert len(losses) == len(PROTOCOLS)


def test_a_configuration_from_before_there_were_protocols_means_whole_images(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Trainer(tiny_trial(of_pictures(pictures, "full_softmax", {})), directory=tmp_path / "run").train()
    checkpoint = trained.best_checkpoint
    assert checkpoint is not None
    file = checkpoint / "config.yaml"
    values = load_yaml_mapping(file)
    for key in ("protocol", "overlap", "scales", "flip"):
        del values["evaluation"][key]
    file.write_text(dump_yaml(values))
    said = command(capsys, str(checkpoint), "--output", str(tmp_path))
    assert said["metrics"] == of_the_split(trained.metrics)


def test_the_figures_of_each_class(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_trial(of_pictures(pictures, "full_softmax", {}))
    checkpoint = Trainer(config, directory=tmp_path / "run").train().last_checkpoint
    said = command(capsys, str(checkpoint), "--output", str(tmp_path))
    rows = said["classes"]
    assert [(row["id"], row["name"]) for row in rows] == [(0, "class 0"), (1, "class 1"), (2, "class 2")]
    truth = torch.cat([mask.flatten() for _, mask in (build_dataset(config.data, "val")[index] for index in range(6))])
    assert [row["pixels"] for row in rows] == torch.bincount(truth, minlength=3).tolist()
    assert sum(row["iou"] for row in rows) / 3 == pytest.approx(said["metrics"]["val/miou"])
    assert sum(row["accuracy"] for row in rows) / 3 == pytest.approx(said["metrics"]["val/mean_accuracy"])


def test_groups_of_classes_have_figures_of_their_own() -> None:
    data = TexturesDataset(split="val", num_classes=NUM_CLASSES, size=(32, 32), length=5)
    data.frequency_groups = ("frequent", "frequent", "common", None, "rare")  # as LVIS's: stuff has none
    for protocol in ("full", "center_crop"):
        config = tiny_trial({"evaluation.protocol": protocol})
        model = model_of("full_softmax")
        result = Evaluation(config, data, model=model, device=CPU).run(model)
        iou = result.counts.per_class_iou()
        expected = {"frequent": iou[:2].nanmean(), "common": iou[2].nan_to_num(), "rare": iou[4].nan_to_num()}
        for group, value in expected.items():
            assert result.metrics[f"val/miou_{group}"] == pytest.approx(float(value))
        assert len(result.metrics) == 8


def test_the_picture_shows_the_first_images_as_they_were_predicted() -> None:
    model = model_of("full_softmax").train()
    config = tiny_trial()
    evaluation = Evaluation(config, build_dataset(config.data, "val"), model=model, device=CPU)
    pictures = [evaluation.run(model, num_pictures=count).picture() for count in (0, 1, 3, 5, 9)]
    assert model.training
    assert pictures[0] is None
    sheets = [picture for picture in pictures if picture is not None]
    assert [sheets[0].height < sheets[1].height, sheets[1].height < sheets[2].height] == [True, True]
    assert sheets[2].tobytes() == sheets[3].tobytes()


def test_the_first_batches_alone_and_what_is_told_of_them() -> None:
    model, config = model_of("full_softmax"), tiny_trial()
    evaluation = Evaluation(config, build_dataset(config.data, "val"), model=model, device=CPU)
    told: list[tuple[int, int]] = []
    evaluation.run(model, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    first = evaluation.run(model, max_batches=1)
    assert int(first.counts.true().sum()) == 2 * 32 * 32


def test_a_failing_evaluation_leaves_the_model_training() -> None:
    model = model_of("full_softmax").train()

    def fail(images: Tensor, targets: Tensor, predictions: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_batches(model, batched(random_pairs(2), 2), counts=ConfusionCounts(NUM_CLASSES), device=CPU, see=fail)
    assert model.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation.protocol": "slide"}, "evaluation.protocol: found 'slide'; one of 'full', 'center_crop'"),
        ({"evaluation.overlap": 1.0}, "evaluation.overlap: found 1.0; expected less than or equal to 0.9"),
        ({"evaluation.scales": []}, "evaluation.scales: found []; expected at least 1 item"),
        ({"evaluation.scales": [0.0]}, "evaluation.scales"),
    ],
)
def test_impossible_protocols(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        tiny_trial(changes)
    assert message in str(error.value)


def test_windows_have_to_fit_the_network() -> None:
    # In training the crop is checked; here it may be another.
    config = tiny_trial({"evaluation.protocol": "sliding", "data.crop_size": [48, 40], "model.output_stride": None})
    model = model_of("full_softmax")
    with pytest.raises(InputError, match=r"data\.crop_size=\[48, 40\] must be divisible by 16.*; nearest is 32"):
        Evaluation(config, build_dataset(config.data, "val"), model=model, device=CPU)

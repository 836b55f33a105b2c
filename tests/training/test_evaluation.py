from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from essnet.cli.app import main
from essnet.data import build_dataset, eval_loader
from essnet.labels import IGNORE_INDEX
from essnet.models import SegmentationModel
from essnet.training import Trainer, build_trial, evaluate
from essnet.training.evaluation import prediction_picture
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
    found = evaluate(model, batched(pairs, batch_size), num_classes=NUM_CLASSES, device=CPU)
    assert found == pytest.approx(naive(model, pairs), rel=1e-5)


def test_metrics_of_sampled_softmax_do_not_depend_on_batches_either() -> None:
    # Only its loss does: each batch draws its own negatives.
    model, pairs = model_of("sampled_softmax"), random_pairs(5)
    found = [evaluate(model, batched(pairs, size), num_classes=NUM_CLASSES, device=CPU) for size in (1, 5)]
    assert all(metrics.pop("val/loss") > 0 for metrics in found)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_evaluating_twice_gives_the_same_and_draws_nothing() -> None:
    model, batches = model_of("sampled_softmax"), batched(random_pairs(4), 2)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = evaluate(model, batches, num_classes=NUM_CLASSES, device=CPU)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert evaluate(model, batches, num_classes=NUM_CLASSES, device=CPU) == first


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_model_as_it_was(training: bool) -> None:
    model = model_of("full_softmax").train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, batched(random_pairs(2), 2), num_classes=NUM_CLASSES, device=CPU)
    assert model.training is training
    assert_same(dict(model.state_dict()), before)


def test_a_split_without_a_valid_pixel_is_zero() -> None:
    images = torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
    targets = torch.full((2, 32, 32), IGNORE_INDEX)
    found = evaluate(model_of("full_softmax"), [(images, targets)], num_classes=NUM_CLASSES, device=CPU)
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

    single = evaluate(model, loader(1), num_classes=NUM_CLASSES, device=CPU)
    padded = [(images[0], targets[0]) for images, targets in loader(1)]
    assert single == pytest.approx(naive(model, padded), rel=1e-5)
    together = loader(4)[0]
    assert together[0].shape[-2:] == (64, 48)
    assert int((together[1] != IGNORE_INDEX).sum()) == 2 * (20 * 33 + 50 * 16)
    assert evaluate(model, [together], num_classes=NUM_CLASSES, device=CPU)["val/loss"] == pytest.approx(
        single["val/loss"], rel=0.5
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_trainers_figures_are_those_of_the_command(
    tmp_path: Path, objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # To the last digit.
    result = Trainer(tiny_trial({"objective.name": objective}), directory=tmp_path / "run").train()
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", str(result.best_checkpoint), "--output", str(tmp_path), "--json"])
    assert exit_.value.code == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert metrics == {key: value for key, value in result.metrics.items() if key.startswith("val/")}


def test_pictures_show_the_first_images() -> None:
    model = model_of("full_softmax").train()
    classes = build_dataset(tiny_trial().data, "val").classes
    batches = batched(random_pairs(4), 3)
    sheets = [prediction_picture(model, batches, classes=classes, device=CPU, count=count) for count in (1, 4, 9)]
    assert model.training
    assert sheets[0].height < sheets[1].height
    assert sheets[1].tobytes() == sheets[2].tobytes()

"""Averages over windows, scales and mirror images, against loops over pixels and views."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from essnet.data.transforms import PADDING_COLOUR
from essnet.models import EmbeddingOutput, SegmentationModel
from essnet.neighbours import nearest_class
from essnet.training.memory import extra_memory_mib
from essnet.training.trial import build_trial
from essnet.training.views import Views, _starts, averaged_outputs
from tests.oracles import all_logits
from tests.training.tiny import tiny_trial

MODELS = {
    "full_softmax": {"objective.name": "full_softmax"},
    "l2": {"objective.name": "embedding_softmax"},
    "renormalised": {"objective.name": "embedding_softmax", "objective.renormalise": True},
    "dot": {"objective.name": "embedding_softmax", "objective.similarity": "dot"},
}


def model_of(overrides: dict[str, object]) -> SegmentationModel:
    return build_trial(tiny_trial(overrides), cache_dir=None).model.eval()


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(256, (count, 3, height, width), generator=generator).to(torch.uint8)


def naive_votes(model: SegmentationModel, image: Tensor) -> Tensor:
    """One view of an image (3, H, W): (K, H, W)."""
    layer, size = model.output_layer, tuple(image.shape[1:])
    outputs = model(image[None])
    if not isinstance(layer, EmbeddingOutput):
        return F.interpolate(outputs, size, mode="bilinear").softmax(1)[0]
    if layer.similarity == "dot":
        return F.interpolate(outputs, size, mode="bilinear")[0]
    embeddings = F.interpolate(outputs / outputs.norm(dim=1, keepdim=True), size, mode="bilinear")[0]
    return embeddings / embeddings.norm(dim=0) if layer.renormalise else embeddings


def naive_average(model: SegmentationModel, image: Tensor, corners: list[tuple[int, int]], side: int) -> Tensor:
    """The mean over windows and their mirror images, pixel by pixel."""
    votes: dict[tuple[int, int], list[Tensor]] = {}
    for top, left in corners:
        part = image[:, top : top + side, left : left + side]
        for voted in (naive_votes(model, part), naive_votes(model, part.flip(2)).flip(2)):
            for row in range(side):
                for column in range(side):
                    votes.setdefault((top + row, left + column), []).append(voted[:, row, column])
    means = torch.stack([torch.stack(votes[pixel]).mean(0) for pixel in sorted(votes)], dim=1)
    return means.view(-1, *image.shape[1:])


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
@torch.no_grad()
def test_windows_and_mirror_images_are_averaged(overrides: dict[str, object]) -> None:
    model, images = model_of(overrides), pictures(48, 64)
    found = averaged_outputs(model, images, Views(window=(32, 32), overlap=0.25, flip=True))
    # Steps of 24 pixels would do: one of 16 down, and two of 16 across.
    corners = [(top, left) for top in (0, 16) for left in (0, 16, 32)]
    for image, outputs in zip(images, found, strict=True):
        expected = naive_average(model, image, corners, 32)
        if overrides["objective.name"] == "full_softmax":
            outputs = outputs.softmax(dim=0)
            assert torch.allclose(outputs.sum(dim=0), torch.ones(48, 64))
        assert torch.allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
@torch.no_grad()
def test_scales_are_averaged_at_the_images_own_size(overrides: dict[str, object]) -> None:
    model, images = model_of(overrides), pictures(48, 64, count=1)
    # 0.7: 34 x 45 pixels, padded to 48 x 48.
    small = F.interpolate(images.float(), (34, 45), mode="bilinear", antialias=True).round().to(torch.uint8)
    padded = torch.tensor(PADDING_COLOUR, dtype=torch.uint8)[:, None, None].repeat(1, 48, 48)
    padded[:, :34, :45] = small[0]
    of_small = F.interpolate(naive_votes(model, padded)[None, :, :34, :45], (48, 64), mode="bilinear")[0]
    expected = (naive_votes(model, images[0]) + of_small) / 2
    found = averaged_outputs(model, images, Views(scales=(1.0, 0.7)))[0]
    if overrides["objective.name"] == "full_softmax":
        found = found.softmax(dim=0)
    assert torch.allclose(found, expected, atol=0.02)  # pixels of the smaller image may be rounded the other way


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
@torch.no_grad()
def test_one_window_over_all_is_the_whole_image(overrides: dict[str, object]) -> None:
    model, images = model_of(overrides), pictures(32, 48)
    assert torch.equal(averaged_outputs(model, images, Views(window=(64, 48), overlap=0.5)), model(images))
    assert torch.equal(averaged_outputs(model, images, Views()), model(images))


@torch.no_grad()
def test_a_scale_that_leaves_a_single_pixel() -> None:
    model, images = model_of(MODELS["l2"]), pictures(16, 16)
    found = averaged_outputs(model, images, Views(scales=(0.05,)))
    pixel = F.interpolate(images.float(), (1, 1), mode="bilinear", antialias=True).round().to(torch.uint8)
    padded = torch.tensor(PADDING_COLOUR, dtype=torch.uint8)[:, None, None].repeat(2, 1, 16, 16)
    padded[:, :, :1, :1] = pixel
    for image, outputs in zip(padded, found, strict=True):
        assert outputs.shape == (3, 16, 16)
        assert torch.allclose(outputs, naive_votes(model, image)[:, :1, :1].expand(3, 16, 16), atol=1e-4)


@torch.no_grad()
def test_images_of_a_batch_are_strangers() -> None:
    model, images = model_of(MODELS["l2"]), pictures(48, 64, count=3)
    views = Views(window=(32, 32), overlap=0.5, scales=(1.0, 1.25), flip=True)
    together = averaged_outputs(model, images, views)
    alone = torch.cat([averaged_outputs(model, image[None], views) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


@torch.no_grad()
def test_mirrored_images_get_mirrored_averages() -> None:
    model, images = model_of(MODELS["full_softmax"]), pictures(48, 64)
    views = Views(window=(32, 32), overlap=0.5, flip=True)
    assert torch.allclose(
        averaged_outputs(model, images.flip(-1), views), averaged_outputs(model, images, views).flip(-1), atol=1e-5
    )


@pytest.mark.parametrize("similarity", ["l2", "cosine", "dot"])
def test_the_class_nearest_to_averaged_embeddings_has_the_best_mean_score(similarity: str) -> None:
    # What makes averaging embeddings the same as averaging the scores of all classes, of which none are held here.
    generator = torch.Generator().manual_seed(5)
    views = torch.randn((4, 50, 6), generator=generator, dtype=torch.float64)
    classes = torch.randn((30, 6), generator=generator, dtype=torch.float64)
    if similarity != "dot":
        views, classes = F.normalize(views, dim=2), F.normalize(classes, dim=1)
    scores = torch.stack([all_logits(view, classes, "cosine", 1.0) for view in views]).mean(dim=0)
    if similarity == "l2":  # squared distances
        scores = -torch.stack([all_logits(view, classes, "l2", 1.0).square() for view in views]).mean(dim=0)
    averaged = views.mean(dim=0).t().reshape(1, 6, 5, 10)
    found = nearest_class(pixel_embeddings=averaged, class_embeddings=classes, similarity=similarity)
    assert torch.equal(found.flatten(), scores.argmax(dim=1))


def test_no_probability_becomes_an_infinite_loss() -> None:
    model, images = model_of(MODELS["full_softmax"]), pictures(32, 32)
    with torch.no_grad():
        for parameter in model.output_layer.parameters():
            parameter.mul_(1e4)  # one class is certain, all others have probability 0
        outputs = averaged_outputs(model, images, Views(flip=True))
        targets = outputs.argmin(dim=1)
        assert torch.isfinite(model.output_layer.loss(outputs, targets))


@pytest.mark.parametrize("num_classes", [50, 20_000])
def test_memory_of_embeddings_does_not_depend_on_the_number_of_classes(num_classes: int) -> None:
    model = model_of({"objective.name": "knn_softmax", "data.num_classes": num_classes})
    images = pictures(64, 96, count=1)
    views = Views(window=(32, 32), overlap=0.5, scales=(1.0, 1.5), flip=True)

    @torch.no_grad()
    def work() -> None:
        model.output_layer.predict(averaged_outputs(model, images, views), (64, 96))

    work()
    assert extra_memory_mib(work, images.device) < 16  # pixels x classes would be 469 MiB


@given(length=st.integers(1, 300), side=st.integers(1, 300), overlap=st.floats(0, 0.9))
def test_windows_cover_every_pixel_with_the_overlap_asked_for(length: int, side: int, overlap: float) -> None:
    side = min(side, length)
    starts = _starts(length=length, side=side, overlap=overlap)
    assert starts[0] == 0
    assert starts[-1] == length - side
    steps = [second - first for first, second in pairwise(starts)]
    assert all(0 < step <= max(1, side * (1 - overlap)) for step in steps)
    # Not one more than needed.
    assert len(starts) == 1 or (len(starts) - 2) * max(1, int(side * (1 - overlap))) < length - side

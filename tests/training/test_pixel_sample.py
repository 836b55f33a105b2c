from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.labels import IGNORE_INDEX
from essnet.models import EmbeddingOutput
from essnet.training.pixel_sample import PixelEmbeddings, PixelSample, embeddings_at
from tests.losses.no_waiting import NoWaiting

SIZE = (12, 20)


def layer(**options: Any) -> EmbeddingOutput:
    return EmbeddingOutput(8, num_classes=6, embedding_dim=3, objective="embedding_softmax", **options)


def outputs_and_labels(images: int, *, size: tuple[int, int] = SIZE, classes: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    outputs = torch.randn((images, 3, size[0] // 4, size[1] // 4), generator=generator)
    return outputs, torch.randint(IGNORE_INDEX, classes, (images, *size), generator=generator)


@pytest.mark.parametrize("options", [{"similarity": "dot"}, {}, {"similarity": "cosine", "renormalise": True}])
@pytest.mark.parametrize("size", [SIZE, (3, 5), (11, 19)])  # also as large as the outputs, and no multiple of them
def test_embeddings_at_places_are_those_of_the_whole_map(options: dict[str, Any], size: tuple[int, int]) -> None:
    of = layer(**options)
    outputs, _ = outputs_and_labels(2)
    places = torch.cartesian_prod(torch.arange(2), torch.arange(size[0]), torch.arange(size[1]))
    whole = of.comparable_embeddings(outputs, size).permute(0, 2, 3, 1).reshape(-1, 3)
    torch.testing.assert_close(embeddings_at(of, outputs, places, size=size), whole)


def sampled(outputs: Tensor, labels: Tensor, *, batch: int, most: int = 1000, seed: int = 0) -> PixelEmbeddings:
    sample = PixelSample(layer(similarity="dot"), most=most, seed=seed)
    for begin in range(0, len(outputs), batch):
        sample.update(outputs[begin : begin + batch], labels[begin : begin + batch])
    found = sample.read()
    assert found is not None
    return found


def test_of_each_image_one_pixel_of_each_class_that_it_has() -> None:
    # Outputs as large as the labels, of which one channel is the label: each embedding tells where it is from.
    outputs, labels = torch.zeros((4, 3, *SIZE)), outputs_and_labels(4)[1]
    labels[2][labels[2] == 5] = 0
    labels[3] = IGNORE_INDEX
    outputs[:, 0], outputs[:, 1] = labels, torch.arange(4.0)[:, None, None]
    found = sampled(outputs, labels, batch=2)
    assert found.classes.tolist() == sorted(found.classes.tolist())
    assert found.embeddings[:, 0].tolist() == found.classes.tolist()
    expected = {(float(ids), float(image)) for image in range(4) for ids in labels[image].unique() if ids >= 0}
    assert {(row[0], row[1]) for row in found.embeddings.tolist()} == expected
    assert len(found.classes) == len(expected) == 6 + 6 + 5


def test_the_sample_is_the_same_however_images_are_batched_and_padded() -> None:
    outputs, labels = outputs_and_labels(7)
    first = sampled(outputs, labels, batch=1, most=11)
    for batch in (2, 7):
        again = sampled(outputs, labels, batch=batch, most=11)
        assert torch.equal(first.embeddings, again.embeddings)
        assert torch.equal(first.classes, again.classes)
    padded = torch.full((7, SIZE[0] + 4, SIZE[1] + 8), IGNORE_INDEX)
    padded[:, : SIZE[0], : SIZE[1]] = labels
    assert torch.equal(sampled(outputs, padded, batch=3, most=11).classes, first.classes)
    assert not torch.equal(sampled(outputs, labels, batch=7, most=11, seed=1).embeddings, first.embeddings)


def test_classes_have_equal_shares_and_rare_ones_all_of_theirs() -> None:
    outputs, labels = outputs_and_labels(40, classes=5)
    labels[17, 3, 4] = 5  # one pixel of all
    found = sampled(outputs, labels, batch=8, most=51)
    assert torch.bincount(found.classes).tolist() == [10, 10, 10, 10, 10, 1]


def test_with_more_classes_than_pixels_each_has_one_at_most() -> None:
    outputs, labels = outputs_and_labels(5)
    found = sampled(outputs, labels, batch=2, most=4)
    assert len(found.classes) == len(found.classes.unique()) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: not yet run on one")
def test_on_a_gpu_the_sample_is_the_same() -> None:
    outputs, labels = outputs_and_labels(5)
    here, there = sampled(outputs, labels, batch=2, most=7), sampled(outputs.cuda(), labels, batch=2, most=7)
    assert torch.equal(here.classes, there.classes)
    torch.testing.assert_close(here.embeddings, there.embeddings)


def test_nothing_labelled_is_no_sample() -> None:
    sample = PixelSample(layer())
    assert sample.read() is None
    outputs, labels = outputs_and_labels(1)
    sample.update(outputs, torch.full_like(labels, IGNORE_INDEX))
    assert sample.read() is None


def test_nothing_is_drawn_from_the_global_generator_and_no_gpu_is_waited_for() -> None:
    sample = PixelSample(layer(), most=4)
    outputs, labels = outputs_and_labels(3)
    before = torch.get_rng_state()
    with NoWaiting():
        sample.update(outputs, labels)
    assert torch.equal(torch.get_rng_state(), before)
    assert sample.read() is not None

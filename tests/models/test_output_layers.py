"""Output layers: what is normalised, what reaches the losses, and what is predicted."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from essnet.config.errors import InputError
from essnet.labels import IGNORE_INDEX
from essnet.losses import margin_regulariser
from essnet.models import EmbeddingOutput, FullSoftmaxOutput

NUM_CLASSES = 7
SIZE = (12, 20)
OBJECTIVES = ["knn_softmax", "embedding_softmax", "sampled_softmax"]


def embedding_output(**options: object) -> EmbeddingOutput:
    torch.manual_seed(0)
    defaults = {
        "num_classes": NUM_CLASSES,
        "embedding_dim": 4,
        "objective": "embedding_softmax",
        "num_neighbours": 2,
    }
    return EmbeddingOutput(6, **{**defaults, "num_random": 3, "search_backend": "torch", **options})


def features() -> Tensor:
    return torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(1))


def targets() -> Tensor:
    ids = torch.randint(0, NUM_CLASSES, (2, *SIZE), generator=torch.Generator().manual_seed(2))
    ids[0, :4] = IGNORE_INDEX
    return ids


def unit(vectors: Tensor, dim: int) -> Tensor:
    return vectors / vectors.square().sum(dim=dim, keepdim=True).sqrt()


def naive_logits(layer: EmbeddingOutput, outputs: Tensor) -> Tensor:
    """Return all logits, (B, C, H, W), in float64 and one statement a step."""
    pixels, classes = outputs.double(), layer.class_embeddings.double()
    if layer.similarity != "dot":
        pixels, classes = unit(pixels, 1), unit(classes, 1)
    pixels = F.interpolate(pixels, size=SIZE, mode="bilinear", align_corners=False)
    if layer.renormalise:
        pixels = unit(pixels, 1)
    if layer.similarity == "l2":
        difference = pixels[:, None] - classes[None, :, :, None, None]
        return -layer.logit_scale * difference.square().sum(dim=2).sqrt()
    scale = 1.0 if layer.similarity == "dot" else layer.logit_scale
    return scale * torch.einsum("bdhw,cd->bchw", pixels, classes)


SIMILARITY_OPTIONS = [
    {"similarity": "l2"},
    {"similarity": "l2", "renormalise": True, "logit_scale": 3.0},
    {"similarity": "cosine"},
    {"similarity": "cosine", "learn_logit_scale": True, "logit_scale": 5.0},
    {"similarity": "dot"},
]


@pytest.mark.parametrize("options", SIMILARITY_OPTIONS)
def test_embedding_softmax_is_cross_entropy_of_the_naive_logits(options: dict[str, object]) -> None:
    layer = embedding_output(margin=0.9, margin_weight=0.5, **options)
    outputs = layer(features())
    expected = F.cross_entropy(naive_logits(layer, outputs), targets(), ignore_index=IGNORE_INDEX)
    if layer.similarity != "dot":
        classes = unit(layer.class_embeddings, 1)
        expected = expected + 0.5 * margin_regulariser(class_embeddings=classes, margin=0.9)
    loss = layer.loss(outputs, targets())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    parameters = list(layer.parameters())
    ours = torch.autograd.grad(loss, parameters, retain_graph=True)
    naive = torch.autograd.grad(expected, parameters)
    for found, wanted in zip(ours, naive, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", ["knn_softmax", "sampled_softmax"])
@pytest.mark.parametrize("options", SIMILARITY_OPTIONS)
def test_truncated_objectives_are_exact_where_they_truncate_nothing(objective: str, options: dict[str, object]) -> None:
    exact = embedding_output(**options)
    truncated = embedding_output(objective=objective, num_neighbours=NUM_CLASSES - 1, **options)
    outputs = exact(features())
    torch.testing.assert_close(truncated.loss(outputs, targets()), exact.loss(outputs, targets()))


@pytest.mark.parametrize("options", SIMILARITY_OPTIONS)
def test_prediction_is_the_largest_naive_logit(options: dict[str, object]) -> None:
    layer = embedding_output(**options)
    outputs = layer(features())
    predictions = layer.predict(outputs, SIZE)
    assert not predictions.requires_grad
    assert torch.equal(predictions, naive_logits(layer, outputs).argmax(dim=1))


def test_full_softmax_is_cross_entropy_of_upsampled_logits() -> None:
    torch.manual_seed(0)
    layer = FullSoftmaxOutput(6, num_classes=NUM_CLASSES)
    outputs = layer(features())
    logits = F.interpolate(outputs.double(), size=SIZE, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(logits, targets(), ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(layer.loss(outputs, targets()).double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(layer.predict(outputs, SIZE), logits.argmax(dim=1))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_everything_ignored_gives_zero_and_no_nan(objective: str) -> None:
    layer = embedding_output(objective=objective, margin_weight=0.0)
    loss = layer.loss(layer(features()), torch.full((2, *SIZE), IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in layer.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_class_is_no_problem(objective: str) -> None:
    layer = embedding_output(objective=objective, num_classes=1)
    outputs = layer(features())
    assert torch.isfinite(layer.loss(outputs, targets().clamp(max=0)))
    assert not layer.predict(outputs, SIZE).any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_are_in_float32_under_autocast(objective: str) -> None:
    layer = embedding_output(objective=objective)
    outputs = layer(features()).bfloat16()
    torch.manual_seed(3)
    expected = layer.loss(outputs.float(), targets())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(3)
        loss = layer.loss(outputs, targets())
        predictions = layer.predict(outputs, SIZE)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert torch.equal(predictions, layer.predict(outputs.float(), SIZE))


def test_random_negatives_follow_torchs_global_generator() -> None:
    layer = embedding_output(objective="sampled_softmax", num_classes=500, num_random=5)
    outputs = layer(features())
    state = torch.get_rng_state()
    first = layer.loss(outputs, targets())
    second = layer.loss(outputs, targets())
    torch.set_rng_state(state)
    assert torch.equal(layer.loss(outputs, targets()), first)
    assert not torch.equal(second, first)


@pytest.mark.parametrize(("similarity", "spread"), [("l2", 3**-0.5), ("cosine", 3**-0.5), ("dot", 16**-0.5)])
def test_class_embeddings_start_as_documented(similarity: str, spread: float) -> None:
    layer = embedding_output(similarity=similarity, num_classes=5000, embedding_dim=16)
    assert layer.class_embeddings.shape == (5000, 16)
    assert layer.class_embeddings.std().item() == pytest.approx(spread, rel=0.02)
    assert abs(layer.class_embeddings.mean().item()) < 0.01
    assert (layer.class_embeddings.abs().max() <= 1).item() == (similarity != "dot")


def test_learned_scale_is_positive_and_grouped_with_the_class_embeddings() -> None:
    layer = embedding_output(learn_logit_scale=True, logit_scale=12.0)
    groups = layer.parameter_groups()
    assert torch.as_tensor(layer.logit_scale).item() == pytest.approx(12.0)
    assert [id(parameter) for parameter in groups["class_embeddings"]] == [
        id(layer.class_embeddings),
        id(layer.log_logit_scale),
    ]
    layer.loss(layer(features()), targets()).backward()
    assert layer.log_logit_scale is not None
    assert layer.log_logit_scale.grad is not None
    assert layer.log_logit_scale.grad != 0
    with torch.no_grad():
        layer.log_logit_scale.fill_(-50.0)
    assert torch.as_tensor(layer.logit_scale).item() > 0


def test_constant_scale_is_no_parameter() -> None:
    assert set(dict(embedding_output().named_parameters())) == {
        "convolution.weight",
        "convolution.bias",
        "class_embeddings",
    }


def test_dot_has_no_regulariser() -> None:
    layer = embedding_output(similarity="dot", margin=1e6, margin_weight=1e6)
    plain = embedding_output(similarity="dot", margin_weight=0.0)
    outputs = layer(features())
    assert torch.equal(layer.loss(outputs, targets()), plain.loss(outputs, targets()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "full_softmax"},
            "objective.name=full_softmax: embeddings are trained by knn_softmax, ",
        ),
        ({"similarity": "manhattan"}, "objective.similarity=manhattan: known are l2, cosine, dot"),
        (
            {"similarity": "dot", "learn_logit_scale": True},
            "objective.learn_logit_scale=true: has no meaning",
        ),
        ({"similarity": "dot", "renormalise": True}, "objective.renormalise=true: has no meaning"),
        ({"logit_scale": 0.0}, "objective.logit_scale=0.0: must be positive and finite"),
        ({"logit_scale": math.inf}, "objective.logit_scale=inf: must be positive and finite"),
        ({"logit_scale": math.nan}, "objective.logit_scale=nan: must be positive and finite"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        embedding_output(**options)

"""What is compared: our objectives, the ways one would otherwise take, and the floor below them all.

All start from the same features, and those over embeddings from the same weights. The margin regulariser is left
out (`margin_weight` 0): the losses are compared, and the others have none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.problem import FEATURE_CHANNELS, Inputs, Problem
from essnet.models.output_layers import EmbeddingOutput, FullSoftmaxOutput
from essnet.neighbours import build_index

# Products that the floor holds at once: they stay in a core's cache, or fill a GPU.
FLOOR_BYTES = {"cpu": 1 << 20, "cuda": 1 << 27}


@dataclass(frozen=True)
class Implementation:
    """One way to compute a loss and its gradients, with the inputs and weights it computes them for."""

    loss: Callable[[], Tensor]
    """The forward pass."""
    differentiated: dict[str, Tensor]
    """What gets a gradient, by name; empty where there is only a forward pass."""

    def forget_gradients(self) -> None:
        """Drop the gradients of the step before."""
        for tensor in self.differentiated.values():
            tensor.grad = None

    def step(self) -> None:
        """Compute the loss and, where something is differentiated, its gradients."""
        loss = self.loss()
        if self.differentiated:
            torch.autograd.backward(loss)


def build(name: str, problem: Problem, inputs: Inputs) -> Implementation:
    """Make one of `IMPLEMENTATIONS` ready to run; its weights depend on the problem's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(problem.seed + 1)
        return IMPLEMENTATIONS[name](problem, inputs)


def why_not(name: str, problem: Problem) -> str | None:
    """Return why this implementation cannot run or means nothing for the problem; None where it can."""
    if name == "sampled_softmax" and problem.num_random >= problem.num_classes:
        return f"{problem.num_random} random classes of {problem.num_classes} are all: see embedding_softmax"
    if name in _PACKAGES:
        if not problem.device.startswith("cuda"):
            return "needs a CUDA device"
        if find_spec(_PACKAGES[name]) is None:
            return f"the package {_PACKAGES[name]} is not installed"
    return None


def bytes_needed(name: str, problem: Problem) -> int:
    """Return roughly how many bytes a step holds at its peak, where that grows with classes or neighbours.

    Measured were 3.1 times all logits for the full softmax, 3.2 to 3.8 times what is gathered.
    """
    if name == "full_softmax":
        return 4 * problem.pixels * problem.num_classes * 4
    if name == "knn_gathered":
        candidates = min(problem.num_neighbours + 1, problem.num_classes)
        return 4 * problem.pixels * candidates * problem.embedding_dim * 4
    return 0


def _full_softmax(problem: Problem, inputs: Inputs) -> Implementation:
    layer = FullSoftmaxOutput(FEATURE_CHANNELS, num_classes=problem.num_classes).to(problem.device)
    return _implementation(layer, inputs, lambda: layer.loss(layer(inputs.features), inputs.targets))


def _objective(name: str) -> Callable[[Problem, Inputs], Implementation]:
    def build_objective(problem: Problem, inputs: Inputs) -> Implementation:
        layer = _embedding_output(problem, objective=name, similarity=problem.similarity)
        return _implementation(layer, inputs, lambda: layer.loss(layer(inputs.features), inputs.targets))

    return build_objective


def _knn_gathered(problem: Problem, inputs: Inputs) -> Implementation:
    """The obvious way: look the neighbours up, gather all their embeddings, let autograd do the rest."""
    layer = _embedding_output(problem, objective="knn_softmax", similarity=problem.similarity)
    num_others = min(problem.num_neighbours, problem.num_classes - 1)
    targets = inputs.targets.reshape(-1, 1)
    place_of_target = torch.zeros_like(targets[:, 0])

    def loss() -> Tensor:
        pixels, classes = _rows(layer, inputs), layer.comparable_class_embeddings()
        found = build_index(classes, similarity=problem.similarity).search(pixels.detach(), num_others + 1)
        # The target's own place among them goes to the farthest, which is one too many otherwise.
        others = torch.where(found[:, :-1] == targets, found[:, -1:], found[:, :-1])
        gathered = F.embedding(torch.cat([targets, others], dim=1), classes)
        if problem.similarity == "l2":
            logits = -layer.logit_scale * torch.linalg.vector_norm(pixels[:, None] - gathered, dim=2)
        else:
            logits = _factor(layer) * torch.bmm(gathered, pixels[:, :, None])[:, :, 0]
        return F.cross_entropy(logits, place_of_target)

    return _implementation(layer, inputs, loss)


def _torch_linear_cross_entropy(pixels: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
    # Without options torch materialises all logits, which takes some ten times as long at 1,284 classes; with
    # them it chooses the chunks itself.
    return F.linear_cross_entropy(pixels, classes, targets, options=nn.LinearCrossEntropyOptions())


def _cut_cross_entropy(pixels: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy

    # Its kernels take half precision only.
    loss: Tensor = linear_cross_entropy(pixels.bfloat16(), classes.bfloat16(), targets)
    return loss


def _liger(pixels: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss: Tensor = LigerFusedLinearCrossEntropyLoss()(classes, pixels, targets)
    return loss


def _library(
    cross_entropy: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Problem, Inputs], Implementation]:
    """Return the exact loss by a library's cross-entropy of a linear map: `cosine`, or `dot` where that is asked.

    These libraries have no `l2`; the logit scale is a factor on the pixel embeddings.
    """

    def build_library(problem: Problem, inputs: Inputs) -> Implementation:
        similarity = "dot" if problem.similarity == "dot" else "cosine"
        layer = _embedding_output(problem, objective="embedding_softmax", similarity=similarity)

        def loss() -> Tensor:
            pixels = _factor(layer) * _rows(layer, inputs)
            return cross_entropy(pixels, layer.comparable_class_embeddings(), inputs.targets.reshape(-1))

        return _implementation(layer, inputs, loss)

    return build_library


def _floor(problem: Problem, inputs: Inputs) -> Implementation:
    """One product of all embeddings and one exponential of it, forward only, without an output layer.

    What `loss` returns is no loss but the last chunk of exponentials.
    """
    layer = _embedding_output(problem, objective="embedding_softmax", similarity="cosine")
    with torch.no_grad():
        pixels, transposed = _rows(layer, inputs), layer.comparable_class_embeddings().t().contiguous()
    rows = max(1, FLOOR_BYTES[inputs.features.device.type] // (4 * problem.num_classes))
    buffer = pixels.new_empty((min(rows, len(pixels)), problem.num_classes))

    @torch.no_grad()
    def product_and_exponential() -> Tensor:
        held = buffer
        for start in range(0, len(pixels), rows):
            chunk = pixels[start : start + rows]
            held = buffer[: len(chunk)]
            torch.mm(chunk, transposed, out=held).exp_()
        return held

    return Implementation(loss=product_and_exponential, differentiated={})


# In the order of tables and rounds.
IMPLEMENTATIONS: dict[str, Callable[[Problem, Inputs], Implementation]] = {
    "full_softmax": _full_softmax,
    "embedding_softmax": _objective("embedding_softmax"),
    "knn_softmax": _objective("knn_softmax"),
    "sampled_softmax": _objective("sampled_softmax"),
    "knn_gathered": _knn_gathered,
    "linear_cross_entropy": _library(_torch_linear_cross_entropy),
    "cut_cross_entropy": _library(_cut_cross_entropy),  # not yet run on a GPU
    "liger": _library(_liger),  # not yet run on a GPU
    "floor": _floor,
}

_PACKAGES = {"cut_cross_entropy": "cut_cross_entropy", "liger": "liger_kernel"}


def _embedding_output(problem: Problem, *, objective: str, similarity: str) -> EmbeddingOutput:
    return EmbeddingOutput(
        FEATURE_CHANNELS,
        num_classes=problem.num_classes,
        embedding_dim=problem.embedding_dim,
        objective=objective,
        similarity=similarity,
        num_neighbours=problem.num_neighbours,
        num_random=problem.num_random,
        margin_weight=0.0,
    ).to(problem.device)


def _implementation(layer: nn.Module, inputs: Inputs, loss: Callable[[], Tensor]) -> Implementation:
    return Implementation(loss=loss, differentiated={"features": inputs.features, **dict(layer.named_parameters())})


def _rows(layer: EmbeddingOutput, inputs: Inputs) -> Tensor:
    """Return the embeddings as they meet the classes, (P, D); a view, as they are channels last."""
    embeddings = layer.comparable_embeddings(layer(inputs.features), inputs.targets.shape[-2:])
    return embeddings.permute(0, 2, 3, 1).reshape(-1, embeddings.shape[1])


def _factor(layer: EmbeddingOutput) -> float | Tensor:
    """Return what multiplies the products: the logit scale, which `dot` does not have."""
    return 1.0 if layer.similarity == "dot" else layer.logit_scale

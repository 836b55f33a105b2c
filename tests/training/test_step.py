"""One optimizer step against naive ones: accumulation, clipping, precision, compilation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from essnet.config import InputError
from essnet.training.loss_watch import NonFiniteLossError
from essnet.training.trainer import Trainer
from tests.training.tiny import RecordingTracker, assert_same, tiny_trial

SGD = {"optimizer.name": "sgd", "optimizer.lr": 0.05, "trainer.max_steps": 3, "objective.name": "knn_softmax"}


def new_trainer(folder: Path, overrides: Mapping[str, Any], **options: Any) -> Trainer:
    return Trainer(tiny_trial({**SGD, **overrides}), directory=folder, **options)


def naive_weights(trainer: Trainer, *, micro_batches: int = 1, largest_norm: float | None = None) -> dict[str, Tensor]:
    """Train as one writes it down: the mean loss of a step's micro-batches, one backward pass for all."""
    model, batches = trainer.trial.model, trainer._batches.after(0)
    model.train()
    for _ in range(trainer.config.trainer.max_steps):
        pairs = [next(batches) for _ in range(micro_batches)]
        losses = [model.output_layer.loss(model(images), targets) for images, targets in pairs]
        trainer.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(losses).mean())
        if largest_norm is not None:
            clip_grad_norm_(model.parameters(), largest_norm)
        trainer.optimizer.step()
        trainer.schedule.step()
    return dict(model.state_dict())


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("largest_norm", [None, 0.1])
def test_steps_are_those_of_the_naive_loop(tmp_path: Path, micro_batches: int, largest_norm: float | None) -> None:
    overrides = {"trainer.accumulate_steps": micro_batches, "trainer.clip_gradient_norm": largest_norm}
    trainer = new_trainer(tmp_path / "run", overrides)
    trainer.train()
    expected = naive_weights(
        new_trainer(tmp_path / "naive", overrides), micro_batches=micro_batches, largest_norm=largest_norm
    )
    for name, tensor in trainer.trial.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def test_the_loss_and_the_norm_logged_are_those_of_the_step(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    trainer = new_trainer(tmp_path, {"trainer.accumulate_steps": 2, "trainer.max_steps": 1})
    trainer.track_with(tracker)
    trainer.train()
    other = new_trainer(tmp_path / "other", {"trainer.accumulate_steps": 2})
    model, batches = other.trial.model, other._batches.after(0)
    model.train()
    losses = [model.output_layer.loss(model(images), targets) for images, targets in (next(batches), next(batches))]
    mean = (losses[0] + losses[1]) / 2
    torch.autograd.backward(mean)
    norm = (
        sum(float((parameter.grad**2).sum()) for parameter in model.parameters() if parameter.grad is not None) ** 0.5
    )
    assert tracker.points["train/loss", 1] == pytest.approx(float(mean.detach()), rel=1e-5)
    assert tracker.points["train/gradient_norm", 1] == pytest.approx(norm, rel=1e-4)


def test_micro_batches_go_on_where_the_last_step_ended(tmp_path: Path) -> None:
    batches = new_trainer(tmp_path, {"trainer.accumulate_steps": 3})._batches
    all_of_them = batches.after(0)
    for _ in range(6):
        next(all_of_them)
    later = batches.after(2)
    for _ in range(3):
        assert_same(next(later), next(all_of_them))
    assert batches.describe(3).count("scene") == 12


def exploding(trainer: Trainer, factor: float) -> None:
    layer = trainer.trial.model.output_layer
    loss = layer.loss
    layer.loss = lambda outputs, targets: loss(outputs, targets) * factor


def test_clipping_keeps_an_exploding_gradient_finite(tmp_path: Path) -> None:
    clipped = new_trainer(tmp_path / "clipped", {"trainer.clip_gradient_norm": 1.0})
    exploding(clipped, 1e15)
    clipped.train()
    assert all(bool(tensor.isfinite().all()) for tensor in clipped.trial.model.state_dict().values())
    free = new_trainer(tmp_path / "free", {})
    exploding(free, 1e15)
    with pytest.raises(NonFiniteLossError, match=r"^step \d: the (loss|gradient's norm) is "):
        free.train()


def test_a_gradient_without_a_norm_is_one_clear_line(tmp_path: Path) -> None:
    before: dict[str, Tensor] = {}
    trainer = new_trainer(tmp_path, {"trainer.clip_gradient_norm": 1.0, "trainer.log_every_steps": 100})
    exploding(trainer, 1e30)  # the squares of the gradient overflow
    before.update({name: parameter.clone() for name, parameter in trainer.trial.model.named_parameters()})
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train()
    assert str(caught.value).startswith("step 1: the gradient's norm is inf (the loss is ")
    assert "the optimizer has not stepped; the batch is train images scene " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_same(dict(trainer.trial.model.named_parameters()), before)


def test_bfloat16_is_the_networks_while_weights_and_losses_stay_in_float32(tmp_path: Path) -> None:
    seen: list[tuple[torch.dtype, torch.dtype, bool]] = []
    trainer = new_trainer(tmp_path / "low", {"trainer.precision": "bfloat16"})
    layer = trainer.trial.model.output_layer
    loss = layer.loss

    def watched(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        seen.append((outputs.dtype, value.dtype, trainer.trial.model.training))
        return value

    layer.loss = watched
    trainer.train()
    assert {kinds[:2] for kinds in seen if kinds[2]} == {(torch.bfloat16, torch.float32)}
    assert {kinds[:2] for kinds in seen if not kinds[2]} == {(torch.float32, torch.float32)}  # evaluation
    assert {parameter.dtype for parameter in trainer.trial.model.parameters()} == {torch.float32}
    assert all(bool(tensor.isfinite().all()) for tensor in trainer.trial.model.state_dict().values())


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_float16_without_a_gpu_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"float16,? (which )?needs a GPU.*take bfloat16 or float32") as caught:
        new_trainer(tmp_path / "run", {"trainer.precision": "float16", "trainer.device": device})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def torch_compile() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("torch_compile")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch's compiler
def test_compiled_training_is_nearly_the_plain_one(tmp_path: Path) -> None:
    import torch._inductor.config as inductor

    weights = []
    for on in (False, True):
        trainer = new_trainer(tmp_path / str(on), {"trainer.compile": on})
        with inductor.patch(fallback_random=True):  # the same dropout
            trainer.train()
        weights.append(dict(trainer.trial.model.state_dict()))
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0.02, atol=0.02)


@pytest.mark.usefixtures("torch_compile")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_without_a_compiler_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    message = r"^trainer\.compile: found true, but torch\.compile does not work here \(.*no-such-compiler"
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(InputError, match=message) as caught:
        new_trainer(tmp_path / "run", {"trainer.compile": True})
    assert "\n" not in str(caught.value)
    assert "install a C++ compiler" in str(caught.value)


def test_determinism_is_set_either_way(tmp_path: Path) -> None:
    try:
        new_trainer(tmp_path / "strict", {"trainer.deterministic": True}).train()
        assert torch.are_deterministic_algorithms_enabled()
        new_trainer(tmp_path / "plain", {})
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)

"""The `trainer` and `tracking` blocks: how a trial runs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from essnet.config.fields import Block, Positive, PositiveFloat


def _check_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"found {device!r}; one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    return device


class TrainerConfig(Block):
    """The loop."""

    max_steps: Positive = 1000
    """Steps of the optimizer."""
    batch_size: Positive = 10
    """Images of a micro-batch: what the network sees at once, and batch normalisation normalises over."""
    accumulate_steps: Positive = 1
    """Micro-batches of a step: their gradients' mean is what the optimizer gets."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the network computes in while training (autocast); weights, losses and evaluation stay in float32.
    float16 needs a GPU."""
    clip_gradient_norm: PositiveFloat | None = None
    """Largest norm of a step's gradient over all parameters; a longer one is scaled down. null: any."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, class embeddings included; it is what is evaluated and
    saved as the model. null: no average."""
    compile: bool = False
    """Train through torch.compile, which needs a C++ compiler; evaluation does not."""
    deterministic: bool = False
    """Have torch refuse operations that give other bits each time (some on a GPU)."""
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    num_threads: Positive | None = None
    """CPU threads of torch; null: as many as torch takes (in a sweep: the trial's share of the cores)."""
    log_every_steps: Positive = 20
    checkpoint_every_steps: Positive | None = None
    """Steps between checkpoints; null: one at each evaluation."""
    keep_checkpoints: Positive = 1
    """How many of the newest checkpoints are kept beside the best; with 2, a damaged one costs no more than the
    steps since the one before."""

    @model_validator(mode="after")
    def _float16_on_a_gpu(self) -> Self:
        if self.precision == "float16" and self.device == "cpu":
            raise ValueError("precision=float16 needs a GPU, and device is cpu; take bfloat16 or float32")
        return self


class TrackingConfig(Block):
    """Where MLflow keeps the runs."""

    uri: Annotated[str, Field(min_length=1)] | None = None
    """A tracking server's or database's address; null: `<output>/mlflow.db`."""
    experiment: Annotated[str, Field(min_length=1)] = "essnet"

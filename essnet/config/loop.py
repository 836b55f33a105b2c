"""The `trainer` and `tracking` blocks: how a trial runs."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from essnet.config.fields import Block, Positive, PositiveFloat
from essnet.config.tracking_address import check_address


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


def _check_model_name(name: str) -> str:
    if not re.fullmatch(r"[^/:%\x00-\x1f]{1,200}", name) or name.strip() != name or name in (".", ".."):
        raise ValueError(f"found {name!r}; a model's name has 1 to 200 characters, none of them '/', ':' or '%'")
    return name


with warnings.catch_warnings():
    # Of the method by which abstract classes get virtual subclasses; nobody wants one of this class.
    warnings.filterwarnings("ignore", message='Field name "register" in "TrackingConfig" shadows')

    class TrackingConfig(Block):
        """Where MLflow keeps the runs, and what of them."""

        uri: Annotated[str, Field(min_length=1), AfterValidator(check_address)] | None = None
        """A tracking server's or database's address, without a password; null: `<output>/mlflow.db`."""
        experiment: Annotated[str, Field(min_length=1)] = "essnet"
        log_model: Literal["best", "none"] = "best"
        """Whether a run's best checkpoint is kept in MLflow's model format too, at its end; a sweep keeps the model of
        its best configuration, and the baseline's."""
        register: Annotated[str, AfterValidator(_check_model_name)] | None = None
        """Name under which the best model becomes a new version in MLflow's model registry; null: it does not."""

        @model_validator(mode="after")
        def _registers_what_is_logged(self) -> Self:
            if self.register is not None and self.log_model == "none":
                raise ValueError(
                    f"register={self.register} needs log_model=best; a model that is not kept has no version"
                )
            return self

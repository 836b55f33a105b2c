"""The `model` and `objective` blocks: the network, and what it is trained for."""

from __future__ import annotations

from operator import not_
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from essnet.config.extension_names import OBJECTIVES
from essnet.config.extensions import check_name
from essnet.config.fields import Block, NonNegative, NonNegativeFloat, PathName, PositiveFloat, absolute, check_home


class ModelConfig(Block):
    """The encoder-decoder."""

    architecture: str = "deeplabv3plus"
    """An architecture of segmentation-models-pytorch."""
    encoder: str = "resnet50"
    """An encoder of segmentation-models-pytorch; `tu-<name>` takes one of timm's."""
    encoder_weights: PathName = "none"
    """`none`, `imagenet`, `package:<name>`, or a file."""
    output_stride: Literal[8, 16] | None = None
    """Stride of the encoder's last features where the architecture has the choice; null: its own default."""
    separable_convolutions: bool | None = None
    """Whether the 3 x 3 convolutions of the DeepLabs' ASPP and decoder are depthwise separable; null: as in the
    library: deeplabv3plus yes, deeplabv3 no."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None
    """Weight of the newest batch in the running statistics of the encoder's batch norms; null: the library's."""
    freeze_encoder: bool = False
    """Train nothing of the encoder, and keep its batch norms' statistics."""
    # Absolute, as a sweep's trials run in folders of their own.
    initial_weights: (
        Annotated[str, Field(min_length=1), AfterValidator(check_home), AfterValidator(absolute)] | None
    ) = None
    """A checkpoint whose weights training begins with; the output layer's only where its classes are the same."""


BUILT_IN_OBJECTIVES = ("full_softmax", "knn_softmax", "embedding_softmax", "sampled_softmax")


class ObjectiveConfig(Block):
    """Output layer and loss together: neither works with the other's partner."""

    name: str
    """One of `BUILT_IN_OBJECTIVES`, or one of another package, which looks at `options` alone."""
    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] = 12
    num_neighbours: NonNegative = 7
    num_random: NonNegative = 256
    similarity: Literal["l2", "cosine", "dot"] = "l2"
    logit_scale: PositiveFloat = 20.0
    learn_logit_scale: bool = False
    renormalise: bool = False
    """Normalise embeddings once more after upsampling (the paper does not)."""
    margin: NonNegativeFloat = 0.2
    margin_weight: NonNegativeFloat = 1.0
    search: Literal["exact", "approximate"] = "exact"
    """How neighbours are sought; approximate from 50,000 classes on."""
    search_backend: Literal["auto", "faiss", "torch"] = "auto"
    options: dict[str, Any] = Field(default={}, exclude_if=not_)
    """What an objective of another package wants to know."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_name(name, group=OBJECTIVES, built_in=BUILT_IN_OBJECTIVES)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.options and self.name in BUILT_IN_OBJECTIVES:
            raise ValueError(f"options: are for objectives of other packages; {self.name} has keys of its own")
        if self.learn_logit_scale and self.similarity == "dot":
            raise ValueError("learn_logit_scale=true needs similarity=l2 or cosine; dot has no logit_scale")
        if self.renormalise and self.similarity == "dot":
            raise ValueError("renormalise=true needs similarity=l2 or cosine; dot normalises nothing")
        if self.name == "knn_softmax" and self.num_neighbours < 1:
            raise ValueError(f"num_neighbours={self.num_neighbours} must be at least 1 for knn_softmax")
        if self.search == "approximate" and self.search_backend == "torch":
            raise ValueError("search=approximate needs search_backend=faiss or auto; torch searches exactly")
        if self.name == "sampled_softmax" and self.num_neighbours + self.num_random < 1:
            raise ValueError("num_neighbours=0 and num_random=0 leave sampled_softmax nothing to tell the target from")
        return self

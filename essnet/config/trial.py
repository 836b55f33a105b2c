"""The schema of one trial: what is trained, on what, how, and where it is tracked."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from typing_extensions import Self

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(f"found {name!r}; it becomes a folder's name: letters, digits, '.', '_', '-', at most 100")
    return name


def _check_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"found {device!r}; one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    return device


def _check_crop_size(size: object) -> object:
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(side) is int and side >= 1 for side in sides):
        raise ValueError(f"found {size!r}; expected a whole number of pixels, or [height, width]")
    return size


Name = Annotated[str, AfterValidator(_check_name)]
"""A name that is a folder's name as well."""
CropSize = Annotated[int | list[int], BeforeValidator(_check_crop_size)]
"""One side of a square in pixels, or [height, width]."""


class Block(BaseModel):
    """A block of keys: unknown keys, wrong types, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataBlock(Block):
    """What every data set has."""

    crop_size: CropSize = 512
    """Size of a training crop in pixels: one number, or [height, width]."""
    num_workers: NonNegative = 0
    """Processes that load batches beside the training process."""

    @property
    def crop_height_width(self) -> tuple[int, int]:
        """The crop's height and width in pixels."""
        if isinstance(self.crop_size, int):
            return self.crop_size, self.crop_size
        return self.crop_size[0], self.crop_size[1]


class TexturesData(DataBlock):
    """Scenes generated on the fly: nothing to download."""

    name: Literal["textures"]
    num_classes: Annotated[int, Field(ge=1, le=65536)] = 64
    """At most what a 16-bit label image can tell apart."""
    crop_size: CropSize = 64
    """Size of a scene in pixels, for training and evaluation alike."""
    train_images: Positive = 8192
    val_images: Positive = 256
    test_images: Positive = 256
    seed: NonNegative = 0
    """Decides what each class looks like and every scene; not the trial's seed."""


class PicturesData(DataBlock):
    """What data sets in files have: where they lie, and how their images are augmented."""

    root: str
    num_classes: Positive | None = None
    """Only a check: the data set knows its classes."""
    scale: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)] = [0.5, 2.0]
    """Smallest and largest factor of the random scaling."""
    flip: Probability = 0.5
    """Chance of a horizontal flip."""
    colour_jitter: NonNegativeFloat = 0.0
    """Strength of the jitter of brightness, contrast and saturation."""

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: list[float]) -> list[float]:
        if scale[0] > scale[1]:
            raise ValueError(f"found {scale}; the smallest factor comes first")
        return scale


class FolderData(PicturesData):
    """Anybody's own images: images/{train,val,test}/, masks/{train,val,test}/, classes.txt."""

    name: Literal["folder"]
    ignore_value: NonNegative | None = 255
    """Mask value of pixels that do not count; null where there is none."""
    reduce_zero_label: bool = False
    """Mask value 0 is ignored and every other id moves down by one."""


class VocData(PicturesData):
    """Pascal VOC as it unpacks: VOCdevkit, the folder that it lies in, or VOC<year> itself; 21 classes."""

    name: Literal["voc"]
    year: Annotated[int, Field(ge=2007, le=2012)] = 2012
    augmented: bool = False
    """Train on trainaug, with SBD's labels from SegmentationClassAug/ or cls/."""

    @model_validator(mode="after")
    def _sbd_is_of_2011(self) -> Self:
        if self.augmented and self.year < 2011:
            raise ValueError(
                f"augmented=true needs year=2011 or 2012, found {self.year}; SBD labels the images of 2011"
            )
        return self


class Ade20kData(PicturesData):
    """ADEChallengeData2016: images/ and annotations/, each with training/ and validation/; 150 classes."""

    name: Literal["ade20k"]


class CityscapesData(PicturesData):
    """Cityscapes: leftImg8bit/ and gtFine/; 19 classes."""

    name: Literal["cityscapes"]


class CocoStuff10kData(PicturesData):
    """COCO-Stuff 10k: images/, annotations/ (.mat) and imageLists/; 171 classes."""

    name: Literal["coco_stuff10k"]


class CocoStuffData(PicturesData):
    """COCO 2017 with stuffthingmaps: images/ and stuffthingmaps/, each with train2017/ and val2017/; 171 classes."""

    name: Literal["coco_stuff"]


class CocoLvisData(PicturesData):
    """What `launch.py data build-coco-lvis` wrote: LVIS's objects and COCO-Stuff's stuff, 1,284 classes."""

    name: Literal["coco_lvis"]
    images: str | None = None
    """Folder of train2017/ and val2017/, where it is not the one of the build; a relative one is below `root`."""


DataConfig = Annotated[
    TexturesData | FolderData | VocData | Ade20kData | CityscapesData | CocoStuff10kData | CocoStuffData | CocoLvisData,
    Field(discriminator="name"),
]


class ModelConfig(Block):
    """The encoder-decoder."""

    architecture: str = "deeplabv3plus"
    """An architecture of segmentation-models-pytorch."""
    encoder: str = "resnet50"
    """An encoder of segmentation-models-pytorch; `tu-<name>` takes one of timm's."""
    encoder_weights: str = "none"
    """`none`, `imagenet`, `package:<name>`, or a file."""
    output_stride: Literal[8, 16] | None = None
    """Stride of the encoder's last features where the architecture has the choice; null: its own default."""


class ObjectiveConfig(Block):
    """Output layer and loss together: neither works with the other's partner."""

    name: Literal["full_softmax", "knn_softmax", "embedding_softmax", "sampled_softmax"]
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
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


class OptimizerConfig(Block):
    """The optimizer and its rates."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Only for sgd."""
    encoder_lr_factor: NonNegativeFloat = 1.0
    """Learning rate of the encoder as a multiple of `lr`."""
    class_embeddings_lr_factor: NonNegativeFloat = 1.0
    """Learning rate of the class embeddings as a multiple of `lr`."""


class ScheduleConfig(Block):
    """How the learning rate moves over the steps."""

    name: Literal["poly", "one_cycle"] = "poly"
    power: PositiveFloat = 0.9
    """Only for poly: lr * (1 - step / max_steps) ** power."""
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Only for one_cycle: share of the steps in which the rate rises."""


class TrainerConfig(Block):
    """The loop."""

    max_steps: Positive = 1000
    batch_size: Positive = 10
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    num_threads: Positive | None = None
    """CPU threads of torch; null: as many as torch takes (in a sweep: the trial's share of the cores)."""
    log_every_steps: Positive = 20
    checkpoint_every_steps: Positive | None = None
    """Steps between checkpoints; null: one at each evaluation."""


class EvaluationConfig(Block):
    """When and on what the metrics are computed."""

    every_steps: Positive | None = None
    """Steps between evaluations; null: only at the end."""
    split: Literal["train", "val", "test"] = "val"
    batch_size: Positive = 8
    num_pictures: NonNegative = 4
    """Images of the split whose predictions are kept as pictures."""


class TrackingConfig(Block):
    """Where MLflow keeps the runs."""

    uri: Annotated[str, Field(min_length=1)] | None = None
    """A tracking server's or database's address; null: `<output>/mlflow.db`."""
    experiment: Annotated[str, Field(min_length=1)] = "essnet"


class TrialConfig(Block):
    """One trial."""

    name: Name
    seed: NonNegative = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _crop_fits_stride(self) -> Self:
        stride = self.model.output_stride
        for size in self.data.crop_height_width:
            if stride is not None and size % stride:
                nearest = max(stride, round(size / stride) * stride)
                raise ValueError(
                    f"data.crop_size={self.data.crop_size} must be divisible by "
                    f"model.output_stride={stride}; nearest is {nearest}"
                )
        return self

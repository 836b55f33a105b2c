"""The `data` block: one schema for each data set."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from essnet.config.extension_names import DATA_SETS, IMPORT_PATH, is_extension
from essnet.config.extensions import check_name
from essnet.config.fields import Block, NonNegative, NonNegativeFloat, PathName, Positive, Probability


def _check_crop_size(size: object) -> object:
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(side) is int and side >= 1 for side in sides):
        raise ValueError(f"found {size!r}; expected a whole number of pixels, or [height, width]")
    return size


CropSize = Annotated[int | list[int], BeforeValidator(_check_crop_size)]
"""One side of a square in pixels, or [height, width]."""


class SamplingConfig(Block):
    """What a long tail of rare classes asks for: which images are seen, and where crops lie; off by default."""

    repeat_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    """Images with a class that is in less than this share of the images are seen more often than once in an epoch;
    null: none is. LVIS's is 0.001."""
    class_balanced_crops: Probability = 0.0
    """Chance that a crop is placed around a pixel of a class drawn from those of its image, each as likely."""


class DataBlock(Block):
    """What every data set has."""

    crop_size: CropSize = 512
    """Size of a training crop in pixels: one number, or [height, width]."""
    num_workers: NonNegative = 0
    """Processes that load batches beside the training process."""
    sampling: SamplingConfig = SamplingConfig()

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
    long_tail: NonNegativeFloat = 0.6
    """How much rarer each class is than the one before it: that of rank r, from 1, is drawn with weight
    r ** -long_tail; 0: all are as frequent."""

    @field_validator("sampling")
    @classmethod
    def _whole_scenes(cls, sampling: SamplingConfig) -> SamplingConfig:
        if sampling.class_balanced_crops:
            raise ValueError("class_balanced_crops must be 0 for textures: scenes are drawn at the crop's size")
        return sampling


class CroppedData(DataBlock):
    """What data sets have whose images are of any size: how they are augmented."""

    num_classes: Positive | None = None
    """Only a check: the data set knows its classes."""
    scale: list[Annotated[float, Field(ge=0.01)]] = Field([0.5, 2.0], min_length=2, max_length=2)
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


class PicturesData(CroppedData):
    """What data sets in files have: where they lie."""

    root: PathName


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


class ExtensionData(CroppedData):
    """A data set of another package; `essnet.data.extension` says what that is."""

    name: str
    root: PathName | None = None
    """Folder of the data set, where it is in files."""
    options: dict[str, Any] = Field(default={})
    """What it wants to know beside that."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_name(name, group=DATA_SETS, built_in=())


_BUILT_IN = ("textures", "folder", "voc", "ade20k", "cityscapes", "coco_stuff10k", "coco_stuff", "coco_lvis")


def _tag(values: object) -> str | None:
    """The name by which a block is told: that of the data set, or for those of other packages one for all."""
    block = values if isinstance(values, dict) else vars(values) if isinstance(values, DataBlock) else {}
    if "name" not in block:
        return None
    name = block["name"]
    return IMPORT_PATH if name not in _BUILT_IN and is_extension(name, DATA_SETS) else str(name)


DataConfig = Annotated[
    Annotated[TexturesData, Tag("textures")]
    | Annotated[FolderData, Tag("folder")]
    | Annotated[VocData, Tag("voc")]
    | Annotated[Ade20kData, Tag("ade20k")]
    | Annotated[CityscapesData, Tag("cityscapes")]
    | Annotated[CocoStuff10kData, Tag("coco_stuff10k")]
    | Annotated[CocoStuffData, Tag("coco_stuff")]
    | Annotated[CocoLvisData, Tag("coco_lvis")]
    | Annotated[ExtensionData, Tag(IMPORT_PATH)],
    Discriminator(_tag),
]

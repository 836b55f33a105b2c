"""The published data sets: their archives, licences, and what one has to do oneself.

Addresses are those that the data sets' own pages link. Sizes and checksums are other projects' records of the same
files; each entry names its source. Where there is none, the size is the server's and the members' own CRCs count.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from essnet.config.errors import InputError
from essnet.downloads.archive import Archive, Checksum


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What belongs to a data set."""

    title: str
    licences: tuple[str, ...]
    """What the terms are, and the address of each."""
    archives: tuple[Archive, ...] = ()
    """Unpacked in this order."""
    steps: tuple[str, ...] = ()
    """What a person has to do instead: the set needs an account."""
    hint: str | None = None
    """What there is besides."""
    next_command: str | None = None
    """What has to run before the data set can be used."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asks for; the last three are None where nothing was said."""

    name: str
    root: Path
    year: int | None = None
    augmented: bool | None = None
    split: str | None = None


def data_set(wanted: Wanted) -> DataSet:
    """Return what belongs to the data set that is wanted.

    Raises
    ------
    InputError
        For a name that is unknown or needs no download, and for an option that the data set does not have.
    """
    if wanted.name in _NOTHING_TO_DOWNLOAD:
        raise InputError(f"{wanted.name}: nothing to download; {_NOTHING_TO_DOWNLOAD[wanted.name]}")
    if wanted.name not in _DATA_SETS:
        raise InputError(f"{wanted.name}: unknown data set; one of {', '.join(_DATA_SETS)}")
    options = {"--year": wanted.year, "--augmented": wanted.augmented, "--split": wanted.split}
    for option, value in options.items():
        if value is not None and wanted.name not in _HAVE_OPTION[option]:
            raise InputError(
                f"{option}: {wanted.name} has no such choice; {_WHY_NOT.get((option, wanted.name), _ONLY[option])}"
            )
    return _DATA_SETS[wanted.name](wanted)


_NOTHING_TO_DOWNLOAD = {"textures": "its scenes are generated", "folder": "it is your own images and masks"}
_HAVE_OPTION = {"--year": ("voc",), "--augmented": ("voc",), "--split": ("coco_stuff",)}
_ONLY = {
    "--year": "only voc has years",
    "--augmented": "only voc has SBD's labels",
    "--split": "only coco_stuff has parts that are much smaller",
}
_WHY_NOT = {("--split", "coco_lvis"): "most images of LVIS's val are in train2017, so it takes both"}

# SHA-256 and sizes of COCO's images: TensorFlow Datasets, url_checksums/coco.txt. The host has no certificate of its
# own for https.
_TRAIN2017 = Archive(
    address="http://images.cocodataset.org/zips/train2017.zip",
    size=19_336_861_798,
    checksum=Checksum("sha256", "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
)
_VAL2017 = Archive(
    address="http://images.cocodataset.org/zips/val2017.zip",
    size=815_585_330,
    checksum=Checksum("sha256", "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
)
# No checksum: the SHA-1 that is passed around belongs to the file of 401 MB that this one has replaced. About 1.1 GB:
# cocodataset.org's page of downloads.
_STUFF_ANNOTATIONS = Archive(
    address="http://images.cocodataset.org/annotations/stuff_annotations_trainval2017.zip", about=1_100_000_000
)
# SHA-256 and sizes: TensorFlow Datasets, datasets/lvis/checksums.tsv, of the same files by the bucket's other address.
_LVIS_TRAIN = Archive(
    address="https://dl.fbaipublicfiles.com/LVIS/lvis_v1_train.json.zip",
    size=350_264_821,
    checksum=Checksum("sha256", "334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba"),
    into="annotations",
)
_LVIS_VAL = Archive(
    address="https://dl.fbaipublicfiles.com/LVIS/lvis_v1_val.json.zip",
    size=64_026_968,
    checksum=Checksum("sha256", "5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5"),
    into="annotations",
)
# No checksum is published. About 659 MB: the README of nightrome/cocostuff.
_STUFF_THING_MAPS = Archive(
    address="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    about=659_000_000,
    into="stuffthingmaps",
)
# No checksum is published. About 2.0 GB: the README of nightrome/cocostuff10k.
_STUFF_10K = Archive(
    address="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip",
    about=2_000_000_000,
)
# SHA-256 and size: TensorFlow Datasets, url_checksums/ade20k.txt.
_ADE20K = Archive(
    address="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    size=967_382_037,
    checksum=Checksum("sha256", "7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29"),
    without="ADEChallengeData2016",
)


def _voc_archive(path: str, md5: str, *, size: int | None = None, without: str = "VOCdevkit") -> Archive:
    return Archive(
        address=f"https://thor.robots.ox.ac.uk/pascal/VOC/{path}",
        size=size,
        checksum=Checksum("md5", md5),
        without=without,
    )


# Addresses and MD5: torchvision 0.29, datasets/voc.py. Sizes: TensorFlow Datasets, url_checksums/voc.txt, of a mirror's
# files of the same name; for 2012 its SHA-256 is also the one that torchvision gave for the official file.
_VOC = {
    2007: (
        _voc_archive("voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64", size=460_032_000),
        _voc_archive("voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f", size=451_020_800),
    ),
    2008: (_voc_archive("voc2008/VOCtrainval_14-Jul-2008.tar", "2629fa636546599198acfcfbfcf1904a"),),
    2009: (_voc_archive("voc2009/VOCtrainval_11-May-2009.tar", "a3e00b113cfcfebf17e343f59da3caa1"),),
    2010: (_voc_archive("voc2010/VOCtrainval_03-May-2010.tar", "da459979d0c395079b5c75ee67908abb"),),
    2011: (
        _voc_archive(
            "voc2011/VOCtrainval_25-May-2011.tar", "6c3384ef61512963050cb5d687e5bf1e", without="TrainVal/VOCdevkit"
        ),
    ),
    2012: (
        _voc_archive("voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd", size=1_999_639_040),
    ),
}
# Address and MD5: torchvision 0.29, datasets/sbd.py. Size: a published log of torchvision's download of it.
_SBD = Archive(
    address="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    size=1_419_539_633,
    checksum=Checksum("md5", "82b4d87ceb2ed10f6038a1cba92111cb"),
)

_COCO_TERMS = (
    "images: Flickr's terms of use, each photo under its own licence: https://cocodataset.org/#termsofuse",
    "COCO and COCO-Stuff annotations: CC BY 4.0: https://creativecommons.org/licenses/by/4.0/",
)


def _voc(wanted: Wanted) -> DataSet:
    year = 2012 if wanted.year is None else wanted.year
    if year not in _VOC:
        raise InputError(f"--year: found {year}; one of {', '.join(map(str, _VOC))}")
    augmented = bool(wanted.augmented)
    flickr = "images: Flickr's terms of use; no licence is published for the annotations"
    return DataSet(
        title=f"Pascal VOC {year}" + (" with SBD's labels" if augmented else ""),
        licences=(
            f"{flickr}: http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/",
            *(["SBD: no licence is published: http://home.bharathh.info/pubs/codes/SBD/download.html"] * augmented),
        ),
        archives=(*_VOC[year], *([_SBD] if augmented else [])),
    )


def _ade20k(wanted: Wanted) -> DataSet:
    return DataSet(
        title="ADE20K, the scene parsing benchmark of 2016 with 150 classes",
        licences=(
            "images: for non-commercial research and education only; annotations: BSD 3-Clause: "
            "https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
        ),
        archives=(_ADE20K,),
        hint="This one is open. The full ADE20K, with more than 3,000 classes, is another set that no loader here "
        "reads; for it: 1. register at https://groups.csail.mit.edu/vision/datasets/ADE20K/; 2. wait until the "
        "request is granted; 3. sign in there and download the archive.",
    )


def _cityscapes(wanted: Wanted) -> DataSet:
    folder = shlex.quote(str(wanted.root))
    check = shlex.join(["launch.py", "data", "check", "cityscapes", "--root", str(wanted.root)])
    return DataSet(
        title="Cityscapes with fine annotations",
        licences=("for non-commercial use only, not to be passed on: https://www.cityscapes-dataset.com/license/",),
        steps=(
            "Register at https://www.cityscapes-dataset.com/register/ and confirm the mail.",
            "Sign in, accept the licence, and at https://www.cityscapes-dataset.com/downloads/ take "
            "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB). On a machine without browser: "
            "pip install cityscapesscripts, then csDownload leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip",
            f"Unpack both: unzip leftImg8bit_trainvaltest.zip -d {folder} "
            f"and unzip -o gtFine_trainvaltest.zip -d {folder}",
            f"There are now leftImg8bit/ and gtFine/ in {folder}. Check: {check}",
            f"Use it with data.root={folder}",
        ),
    )


def _coco_stuff10k(wanted: Wanted) -> DataSet:
    return DataSet(title="COCO-Stuff 10k, version 1.1", licences=_COCO_TERMS, archives=(_STUFF_10K,))


def _coco_stuff(wanted: Wanted) -> DataSet:
    images = {"train": _TRAIN2017, "val": _VAL2017}
    if wanted.split is not None and wanted.split not in images:
        raise InputError(f"--split: found {wanted.split!r}; one of {', '.join(images)}")
    chosen = tuple(archive for split, archive in images.items() if wanted.split in (None, split))
    title = "COCO-Stuff on COCO 2017" + (f", {wanted.split} only" if wanted.split else "")
    return DataSet(title=title, licences=_COCO_TERMS, archives=(_STUFF_THING_MAPS, *chosen))


def _coco_lvis(wanted: Wanted) -> DataSet:
    annotations = wanted.root / "annotations"
    command = ["launch.py", "data", "build-coco-lvis", "--images", wanted.root, "--output", wanted.root]
    for source in ("lvis_v1_train", "lvis_v1_val", "stuff_train2017", "stuff_val2017"):
        option = "--" + source.removesuffix("2017").replace("_v1", "").replace("_", "-")
        command += [option, annotations / f"{source}.json"]
    return DataSet(
        title="COCO 2017 with the annotations of LVIS v1 and COCO-Stuff",
        licences=(*_COCO_TERMS, "LVIS annotations: CC BY 4.0: https://www.lvisdataset.org/dataset"),
        archives=(_LVIS_TRAIN, _LVIS_VAL, _STUFF_ANNOTATIONS, _VAL2017, _TRAIN2017),
        next_command=shlex.join(map(str, command)),
    )


_DATA_SETS: dict[str, Callable[[Wanted], DataSet]] = {
    "voc": _voc,
    "ade20k": _ade20k,
    "cityscapes": _cityscapes,
    "coco_stuff10k": _coco_stuff10k,
    "coco_stuff": _coco_stuff,
    "coco_lvis": _coco_lvis,
}

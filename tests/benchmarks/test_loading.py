"""The benchmark of loading: that both sides do the same work, and that it says what it measured."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.loading import TorchvisionWay, jpeg_decoders, main, photo_like, write_voc


def test_a_small_run(tmp_path: Path, capsys) -> None:
    file = tmp_path / "loading.json"
    sizes = ["--number", "4", "--crop", "64", "--batch", "2", "--batches", "2", "--rounds", "1"]
    assert main([*sizes, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    loaders = found["loaders"]
    assert set(loaders["images_per_second"]) == {"essnet", "torchvision", "torchvision_pil"}
    assert all(speed["p50"] > 0 for speed in loaders["images_per_second"].values())
    assert found["jpeg_decoders"]["torchvision"]["pixels_as_pillow"]
    assert set(found["jpeg_decoders"]["Pillow"]["ms"]) == {"1/1", "1/2", "1/4"}
    assert found["mask_decoders"]["Pillow"]["p50"] > 0
    printed = capsys.readouterr().out
    assert "essnet / faster torchvision" in printed
    assert "Pillow 1/4" in printed


def test_images_have_the_bytes_of_photos_and_masks_the_indices_of_voc(tmp_path: Path) -> None:
    (file,) = write_voc(tmp_path, images=None, number=1, quality=90)
    assert 100_000 < file.stat().st_size < 250_000
    with Image.open(file.parents[1] / "SegmentationClass" / f"{file.stem}.png") as mask:
        assert mask.mode == "P"
        assert set(np.unique(np.asarray(mask))) <= {*range(21), 255}


def test_real_images_are_taken_as_they_are(tmp_path: Path) -> None:
    (original,) = write_voc(tmp_path / "one", images=None, number=1, quality=60)
    (copy,) = write_voc(tmp_path / "two", images=original.parent, number=5, quality=90)
    assert copy.read_bytes() == original.read_bytes()


def test_torchvisions_two_ways_make_the_same_kinds_of_crops() -> None:
    image, mask = Image.new("RGB", (90, 80), (1, 2, 3)), Image.new("P", (90, 80), 7)
    for pil in (False, True):
        crop, targets = TorchvisionWay(600, pil=pil)(image, mask)
        assert (crop.dtype, tuple(crop.shape)) == (torch.uint8, (3, 600, 600))
        assert (targets.dtype, tuple(targets.shape)) == (torch.int64, (600, 600))
        assert set(targets.unique().tolist()) <= {7, 255}
        assert (targets == 7).any()


def test_every_decoder_gives_the_size_that_it_says() -> None:
    file = io.BytesIO()
    photo_like(np.random.default_rng(0)).save(file, "jpeg")
    for name, offered in jpeg_decoders().items():
        for reduction, decode in offered.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torchvision's decoders are to go
                shape = tuple(decode(file.getvalue()).shape)
            assert sorted(shape) == [3, 480 // reduction, 640 // reduction], name

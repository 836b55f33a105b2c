"""Training crops a second, beside torchvision's own data set and transforms, in turns in one run; and decoders alone.

    python benchmarks/loading.py --json loading.json

Images are generated, 640 x 480 JPEGs with the bytes of COCO's (some 170 KB), in Pascal VOC's layout with palette masks;
`--images` takes the real JPEGs of a folder instead, with generated masks. Each way fills batches of 512 x 512 crops,
scaled by 0.5 to 2 and mirrored by chance, in one worker process:

`essnet` is `train_loader` over `voc_dataset`. `torchvision` is `VOCSegmentation` with transforms v2 on tensors, in the
order of torchvision's reference for segmentation, without its normalisation: like ours, it hands on uint8 images and
int64 masks. `torchvision_pil` is the same on Pillow's images, made tensors at the end.

The second table decodes the same files with each decoder that is installed, whole and at a half and a quarter of the
size, and says whether pixels are those of Pillow; the third the masks.
"""

from __future__ import annotations

import argparse
import importlib
import io
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from benchmarks.measurement import percentiles
from essnet.atomic_files import write_json
from essnet.data.loading import train_loader
from essnet.data.plain_png import read_plain_png
from essnet.data.transforms import build_train_transform
from essnet.data.voc import voc_dataset

_SCALE = (0.5, 2.0)
_HEIGHT, _WIDTH = 480, 640
_WARM_UP_BATCHES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; print the tables, write the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of real JPEGs; generated ones if left out")
    parser.add_argument("--number", type=int, default=64, help="how many different images")
    parser.add_argument("--quality", type=int, default=90, help="of the generated JPEGs")
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=24, help="per way and round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-decoders", action="store_true", help="the first table only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        files = write_voc(root, images=options.images, number=options.number, quality=options.quality)
        result: dict[str, Any] = {
            "images": len(files),
            "bytes_per_image": sum(file.stat().st_size for file in files) / len(files),
            "loaders": measure_loaders(
                root, crop=options.crop, batch=options.batch, batches=options.batches, rounds=options.rounds
            ),
        }
        if not options.no_decoders:
            result["jpeg_decoders"] = measure_decoders(files, rounds=options.rounds)
            result["mask_decoders"] = measure_masks(sorted(root.rglob("*.png")), rounds=options.rounds)
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
    return 0


def write_voc(root: Path, *, images: Path | None, number: int, quality: int) -> list[Path]:
    """Write a data set in the layout of VOC2012 and return its images."""
    folder = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    originals = [None] * number if images is None else sorted(images.glob("*.jpg"))[:number]
    if not originals:
        raise SystemExit(f"{images}: has no *.jpg")
    written = []
    for index, original in enumerate(originals):
        file = folder / "JPEGImages" / f"{index:06}.jpg"
        if original is None:
            photo_like(rng).save(file, quality=quality, subsampling="4:2:0")
        else:
            file.write_bytes(original.read_bytes())
        with Image.open(file) as image:
            width, height = image.size
        _mask(rng, height, width).save(folder / "SegmentationClass" / f"{index:06}.png")
        written.append(file)
    listed = "".join(f"{file.stem}\n" for file in written)
    (folder / "ImageSets/Segmentation/train.txt").write_text(listed)
    return written


def photo_like(rng: np.random.Generator, height: int = _HEIGHT, width: int = _WIDTH) -> Image.Image:
    """A picture whose spectrum falls as that of photos, 1/f, with sharp edges between its regions."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    planes = []
    regions = _regions(rng, height, width, number=12)
    for contrast in (45, 12, 12):  # brightness, and two differences of colours
        noise = np.fft.rfft2(rng.standard_normal((height, width))) * falling
        plane = np.fft.irfft2(noise, s=(height, width))
        planes.append(contrast * (plane / plane.std() + 0.8 * rng.standard_normal(12)[regions]))
    brightness, blue, red = planes
    picture = np.stack([brightness + red, brightness - 0.3 * blue - 0.3 * red, brightness + blue], axis=-1) + 118
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _regions(rng: np.random.Generator, height: int, width: int, *, number: int) -> np.ndarray:
    sites = rng.random((number, 2)) * (height, width)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return np.argmin([(rows - row) ** 2 + (columns - column) ** 2 for row, column in sites], axis=0)


def _mask(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    regions = _regions(rng, height, width, number=7)
    labels = rng.integers(21, size=7).astype(np.uint8)[regions]
    edges = np.zeros((height, width), bool)
    edges[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    edges[1:] |= regions[1:] != regions[:-1]
    for _ in range(2):  # VOC draws a border of some pixels around its objects
        edges[:, 1:] |= edges[:, :-1].copy()
        edges[1:] |= edges[:-1].copy()
    labels[edges] = 255
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(np.random.default_rng(1).integers(256, size=768).tolist())
    return mask


def measure_loaders(root: Path, *, crop: int, batch: int, batches: int, rounds: int) -> dict[str, Any]:
    """Return the images a second of each way, with one worker process, taken in turns."""
    ways = {
        "essnet": lambda: _essnet(root, crop, batch),
        "torchvision": lambda: _torchvision(root, crop, batch, pil=False),
        "torchvision_pil": lambda: _torchvision(root, crop, batch, pil=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            found = _images_per_second(way, crop, batch, batches)
            if turn:  # in the first, files are read for the first time
                speeds[name].append(found)
    ratios = [ours / max(theirs) for ours, *theirs in zip(*(speeds[name] for name in ways), strict=True)]
    return {
        "crop": crop,
        "batch": batch,
        "batches": batches,
        "rounds": rounds,
        "images_per_second": {name: percentiles(found) for name, found in speeds.items()},
        "essnet_to_faster_torchvision": percentiles(ratios),
    }


def _images_per_second(way: Callable[[], Iterator[Any]], crop: int, batch: int, batches: int) -> float:
    """Begin anew with a worker process of its own, so that no other way's worker is at work meanwhile."""
    loader = way()
    for images, targets in itertools.islice(loader, _WARM_UP_BATCHES):
        assert (images.dtype, targets.dtype) == (torch.uint8, torch.int64)
        assert (images.shape, targets.shape) == ((batch, 3, crop, crop), (batch, crop, crop))
    begin = time.perf_counter()
    for _ in itertools.islice(loader, batches):
        pass
    return batch * batches / (time.perf_counter() - begin)


def _essnet(root: Path, crop: int, batch: int) -> Iterator[Any]:
    transform = build_train_transform(crop_size=(crop, crop), scale=_SCALE)
    dataset = voc_dataset(root=root, split="train")
    return iter(train_loader(dataset, transform=transform, batch_size=batch, seed=0, num_workers=1))


def _torchvision(root: Path, crop: int, batch: int, *, pil: bool) -> Iterator[Any]:
    dataset = VOCSegmentation(str(root), year="2012", image_set="train", transforms=TorchvisionWay(crop, pil=pil))
    # Without end, as ours, so that no way pays for starting an epoch.
    order = itertools.cycle(range(len(dataset)))
    sampler = ([next(order) for _ in range(batch)] for _ in itertools.count())
    return iter(DataLoader(dataset, batch_sampler=sampler, num_workers=1, collate_fn=default_collate))


class TorchvisionWay:
    """Image and mask of `VOCSegmentation` to tensors, by transforms v2."""

    def __init__(self, crop: int, *, pil: bool) -> None:
        fill = {tv_tensors.Image: 0, Image.Image: 0, tv_tensors.Mask: 255}
        steps: list[Any] = [
            v2.RandomResize(min_size=round(_SCALE[0] * _HEIGHT), max_size=round(_SCALE[1] * _HEIGHT)),
            v2.RandomHorizontalFlip(p=0.5),
            v2.RandomCrop((crop, crop), pad_if_needed=True, fill=fill),
        ]
        steps = [*steps, v2.ToImage()] if pil else [v2.ToImage(), *steps]
        self._transform = v2.Compose([*steps, v2.ToDtype({tv_tensors.Mask: torch.int64, "others": None})])

    def __call__(self, image: Image.Image, mask: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """An image uint8 (3, H, W) and a mask int64 (H, W)."""
        targets = tv_tensors.Mask(np.array(mask)[None])
        crop, labels = self._transform(image, targets)
        return crop.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor)[0]


def jpeg_decoders() -> dict[str, dict[int, Callable[[bytes], Any]]]:
    """By name what decodes a JPEG to an array (H, W, 3) or (3, H, W), for each reduction that it offers."""

    def pillow(content: bytes, reduction: int) -> np.ndarray:
        with Image.open(io.BytesIO(content)) as image:
            if reduction > 1:
                image.draft("RGB", (image.size[0] // reduction, image.size[1] // reduction))
            return np.asarray(image.convert("RGB"))

    found: dict[str, dict[int, Callable[[bytes], Any]]] = {
        "Pillow": {reduction: lambda content, by=reduction: pillow(content, by) for reduction in (1, 2, 4)},
        "torchvision": {1: lambda content: decode_jpeg(_as_tensor(content), ImageReadMode.RGB)},
    }
    if torchcodec := _installed("torchcodec.decoders"):
        found["torchcodec"] = {1: lambda content: torchcodec.decode_jpeg(_as_tensor(content))}
    if cv2 := _installed("cv2"):
        cv2.setNumThreads(1)
        flags = {1: cv2.IMREAD_COLOR_RGB, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
        found["opencv"] = {
            reduction: lambda content, flag=flag: cv2.imdecode(np.frombuffer(content, np.uint8), flag)
            for reduction, flag in flags.items()
        }
    if simplejpeg := _installed("simplejpeg"):
        found["simplejpeg"] = {
            reduction: lambda content, by=reduction: simplejpeg.decode_jpeg(
                content, min_height=_HEIGHT // by, min_width=1, min_factor=by
            )
            for reduction in (1, 2, 4)
        }
    if imagecodecs := _installed("imagecodecs"):
        found["imagecodecs"] = {1: imagecodecs.jpeg8_decode}
    return found


def measure_decoders(files: Sequence[Path], *, rounds: int) -> dict[str, Any]:
    """Return the milliseconds that each decoder takes for a picture, on one thread, without reading the file."""
    contents = [file.read_bytes() for file in files]
    decoders = jpeg_decoders()
    ways = {(name, by): decode for name, offered in decoders.items() for by, decode in offered.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision's decoders are to go
        found = _milliseconds({key: [decode, contents] for key, decode in ways.items()}, rounds)
        whole = {name: np.asarray(offered[1](contents[0])) for name, offered in decoders.items()}
    results: dict[str, Any] = {}
    for name, offered in decoders.items():
        pixels = whole[name].transpose(1, 2, 0) if len(whole[name]) == 3 else whole[name]
        results[name] = {
            "pixels_as_pillow": bool(np.array_equal(pixels, whole["Pillow"])),
            "ms": {f"1/{reduction}": found[name, reduction] for reduction in offered},
        }
    return results


def measure_masks(files: Sequence[Path], *, rounds: int) -> dict[str, Any]:
    """Return the milliseconds that decoders take for the indices of a palette PNG."""
    contents = [file.read_bytes() for file in files]
    ways: dict[str, list[Any]] = {
        "Pillow": [lambda content: np.asarray(Image.open(io.BytesIO(content))), contents],
        "essnet": [read_plain_png, contents],
    }
    if imagecodecs := _installed("imagecodecs"):
        ways["imagecodecs (colours, not indices)"] = [imagecodecs.png_decode, contents]
    if cv2 := _installed("cv2"):
        ways["opencv (colours, not indices)"] = [
            lambda content: cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED),
            contents,
        ]
    return _milliseconds(ways, rounds)


def _milliseconds(ways: dict[Any, list[Any]], rounds: int) -> dict[Any, dict[str, float]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker of the DataLoader
    try:
        times: dict[Any, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, (decode, contents) in ways.items():
                begin = time.perf_counter()
                for content in contents:
                    decode(content)
                if turn:
                    times[name].append(1000 * (time.perf_counter() - begin) / len(contents))
    finally:
        torch.set_num_threads(threads)
    return {name: percentiles(found) for name, found in times.items()}


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    loaders = result["loaders"]
    lines = [
        f"{result['images']} images of {result['bytes_per_image'] / 1000:.0f} KB, crops of {loaders['crop']}, "
        f"batches of {loaders['batch']}, one worker, {loaders['rounds']} rounds",
        f"  {'images a second':<36}{'20 %':>8}{'median':>8}{'80 %':>8}",
    ]
    lines += [_line(name, found, digits=0) for name, found in loaders["images_per_second"].items()]
    lines.append(_line("essnet / faster torchvision", loaders["essnet_to_faster_torchvision"], digits=2))
    if "jpeg_decoders" in result:
        lines.append(f"  {'ms a JPEG':<36}{'20 %':>8}{'median':>8}{'80 %':>8}")
        for name, found in result["jpeg_decoders"].items():
            note = "" if found["pixels_as_pillow"] else " (other pixels)"
            lines += [_line(f"{name} {size}{note}", times, digits=2) for size, times in found["ms"].items()]
        lines.append(f"  {'ms a palette PNG':<36}{'20 %':>8}{'median':>8}{'80 %':>8}")
        lines += [_line(name, times, digits=2) for name, times in result["mask_decoders"].items()]
    return "\n".join(lines)


def _line(name: str, found: dict[str, float], *, digits: int) -> str:
    return f"  {name:<36}" + "".join(f"{found[percent]:>8.{digits}f}" for percent in ("p20", "p50", "p80"))


def _as_tensor(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


if __name__ == "__main__":
    sys.exit(main())

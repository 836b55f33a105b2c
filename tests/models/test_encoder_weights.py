"""Encoder weights from files and from the hub."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from essnet.config.errors import InputError
from essnet.models import FullSoftmaxOutput, SegmentationModel, build_segmentation_model
from essnet.models.encoder_weights import load_encoder_weights

RESNET = "tu-test_resnet"


def encoder_of(name: str, **arguments: int) -> nn.Module:
    return get_encoder(name, weights=None, **arguments)


def model(encoder: str, encoder_weights: str | None, **arguments: bool) -> SegmentationModel:
    return build_segmentation_model(
        architecture="fpn",
        encoder=encoder,
        encoder_weights=encoder_weights,
        output_stride=None,
        output_layer=lambda channels: FullSoftmaxOutput(channels, num_classes=2),
        **arguments,
    )


def assert_same_tensors(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def as_safetensors(tensors: dict[str, Tensor], folder: Path) -> Path:
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def as_pt(tensors: dict[str, Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "weights.pt")
    return folder / "weights.pt"


def as_training_checkpoint(tensors: dict[str, Tensor], folder: Path) -> Path:
    wrapped = {"module." + name: value for name, value in tensors.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize("write", [as_safetensors, as_pt, as_training_checkpoint])
@pytest.mark.parametrize("name", [RESNET, "tu-test_convnext", "tu-test_efficientnet", "resnet18"])
def test_encoders_own_weights_come_back(
    write: Callable[[dict[str, Tensor], Path], Path], name: str, tmp_path: Path
) -> None:
    source, loaded = encoder_of(name), encoder_of(name)
    load_encoder_weights(loaded, str(write(dict(source.state_dict()), tmp_path)), encoder=name)
    assert_same_tensors(loaded, source)


@torch.no_grad()
@pytest.mark.parametrize("timm_name", ["test_resnet", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("depth", [3, 5])
def test_timms_classifier_file_fits_by_name(timm_name: str, depth: int, tmp_path: Path) -> None:
    classifier = timm.create_model(timm_name).eval()
    encoder = encoder_of("tu-" + timm_name, depth=depth).eval()
    path = as_safetensors(classifier.state_dict(), tmp_path)
    load_encoder_weights(encoder, str(path), encoder="tu-" + timm_name)
    images = torch.randn(1, 3, 64, 64)
    last = classifier.forward_intermediates(images, intermediates_only=True)[depth - 6 :][0]
    torch.testing.assert_close(encoder(images)[-1], last)


def test_encoder_of_a_saved_model_is_found_in_it(tmp_path: Path) -> None:
    source = model(RESNET, None)
    path = as_safetensors(source.state_dict(), tmp_path)
    assert_same_tensors(model(RESNET, str(path)).network.encoder, source.network.encoder)


def test_batch_counters_may_be_missing(tmp_path: Path) -> None:
    source = encoder_of(RESNET)
    tensors = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    loaded = encoder_of(RESNET)
    load_encoder_weights(loaded, str(as_pt(tensors, tmp_path)), encoder=RESNET)
    assert_same_tensors(loaded, source)


def test_without_pretrained_the_file_is_not_read() -> None:
    assert isinstance(model(RESNET, "/nowhere/weights.pt", pretrained=False), SegmentationModel)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        # Every tensor of the smaller network is in the larger one's file, in its shape.
        ("resnet34", "resnet18", r"unexpected: layer1\.2\.conv1\.weight, .* and \d+ more$"),
        ("resnet18", "resnet34", r"missing: layer1\.2\.conv1\.weight, .* and \d+ more$"),
        (RESNET, "tu-test_convnext", "are not the weights of model.encoder=tu-test_convnext: missing: model"),
    ],
)
def test_another_encoders_weights_are_refused(source: str, target: str, message: str, tmp_path: Path) -> None:
    path = as_pt(dict(encoder_of(source).state_dict()), tmp_path)
    with pytest.raises(InputError, match=message):
        load_encoder_weights(encoder_of(target), str(path), encoder=target)


def test_another_shape_is_named(tmp_path: Path) -> None:
    tensors = dict(encoder_of("resnet18").state_dict())
    tensors["conv1.weight"] = tensors["conv1.weight"][:, :1]
    with pytest.raises(InputError, match=r"conv1\.weight is 64x1x7x7 in the file and 64x3x7x7 in the encoder"):
        load_encoder_weights(encoder_of("resnet18"), str(as_pt(tensors, tmp_path)), encoder="resnet18")


@pytest.mark.parametrize(
    ("file_name", "content", "message"),
    [
        ("missing.pt", None, "no such file; it takes none, imagenet, package:efficientnet-lite0, or a file"),
        ("weights.ckpt", b"x", r"expected a file that ends in \.safetensors, \.pt, \.pth"),
        ("weights.safetensors", b"", "not a readable file of tensors"),
        ("weights.safetensors", bytes(range(256)), "not a readable file of tensors"),
        ("weights.pt", b"", "not a readable file of tensors"),
        ("weights.pt", bytes(range(256)), "not a readable file of tensors"),
        ("weights.pth", b"PK\x03\x04broken archive", "not a readable file of tensors"),
    ],
)
def test_unreadable_file_is_one_line(file_name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / file_name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_encoder_weights(encoder_of(RESNET), str(path), encoder=RESNET)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(InputError, match="expected a dictionary of named tensors"):
        load_encoder_weights(encoder_of(RESNET), str(tmp_path / "list.pt"), encoder=RESNET)


def test_file_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Path}, tmp_path / "code.pt")
    with pytest.raises(InputError, match="not a readable file of tensors"):
        load_encoder_weights(encoder_of(RESNET), str(tmp_path / "code.pt"), encoder=RESNET)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked the hub again"))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("encoder", "url"),
    [
        (RESNET, "https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"),
        (
            "resnet18",
            "https://huggingface.co/smp-hub/resnet18.imagenet/resolve/3f2325ff978283d47aa6a1d6878ca20565622683/",
        ),
    ],
)
def test_no_network_is_answered_at_once_with_the_file_to_fetch(encoder: str, url: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match="package:efficientnet-lite0") as caught:
        model(encoder, "imagenet")
    assert time.monotonic() - start < 5
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_hub")
def test_without_pretrained_nothing_is_downloaded() -> None:
    trained, fresh = model(RESNET, None), model(RESNET, "imagenet", pretrained=False)
    assert torch.equal(trained.mean, fresh.mean)
    assert torch.equal(trained.std, fresh.std)


@pytest.mark.parametrize("timm_name", ["test_resnet", "test_convnext"])
def test_cached_hub_weights_are_loaded(timm_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_safetensors(timm.create_model(timm_name).state_dict(), tmp_path)
    asked: list[str] = []

    def cached(repository: str, file_name: str, revision: str | None = None) -> str:
        asked.append(f"{repository}/{file_name}")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    from_hub, from_file = model("tu-" + timm_name, "imagenet"), model("tu-" + timm_name, str(path))
    assert_same_tensors(from_hub.network.encoder, from_file.network.encoder)
    assert asked == [f"timm/{timm_name}.r160_in1k/model.safetensors"]


def test_encoder_without_imagenet_weights_is_refused() -> None:
    with pytest.raises(InputError, match=r"none are published for model\.encoder=resnext101_32x4d, only ssl, swsl"):
        model("resnext101_32x4d", "imagenet")

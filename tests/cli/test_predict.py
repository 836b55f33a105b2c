"""`predict` as people call it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from essnet.cli import predict as module
from essnet.cli.app import main
from essnet.config import InputError
from essnet.data.video_file import VideoFile
from essnet.data.video_frames import VideoFrames
from essnet.training.prediction_files import PredictionFiles
from essnet.training.trainer import Trainer
from tests.data.test_video_frames import write_video
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_trial({"objective.name": "embedding_softmax", "trainer.max_steps": 1})
    found = Trainer(config, directory=tmp_path_factory.mktemp("run")).train().last_checkpoint
    assert found is not None
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a/x.png", "b/x.jpg", "y.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 24), (90, 10, 200)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def predict(checkpoint: Path, *arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        main(["predict", str(checkpoint), *map(str, arguments), "--device", "cpu"])
    assert isinstance(exited.value.code, int)
    return exited.value.code


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_and_all_that_can_be_written(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ("--side-by-side", "--uncertainty", "--uncertainty-array", "--output", out, "--json")
    assert predict(checkpoint, photos, *options) == 0
    result = said(capsys)
    kinds = {"labels": ".png", "overlay": "_overlay.png", "uncertainty": "_uncertainty.png"}
    kinds["uncertainty_array"] = "_uncertainty.npy"
    assert result["outputs"] == [
        {"image": str(photos / name), **{kind: str(out / f"{stem}{end}") for kind, end in kinds.items()}}
        for name, stem in (("a/x.png", "a/x"), ("b/x.jpg", "b/x"), ("y.png", "y"))
    ]
    assert (result["skipped"], result["unreadable"]) == ([], [])
    assert files(out) == sorted(f"{stem}{end}" for stem in ("a/x", "b/x", "y") for end in kinds.values())
    with Image.open(out / "y.png") as labels:
        assert (labels.mode, labels.size) == ("I;16", (40, 24))
    assert np.array_equal(
        np.asarray(Image.open(out / "y_overlay.png"))[:24, :40], np.asarray(Image.open(photos / "y.png"))
    )
    assert np.load(out / "y_uncertainty.npy").shape == (24, 40)


def test_people_are_told_what_was_written_and_how_fast(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict(checkpoint, photos / "*.png", "--output", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{photos / 'y.png'} -> {tmp_path / 'out' / 'y.png'}, {tmp_path / 'out' / 'y_overlay.png'}" in lines
    assert lines[-1].startswith("predicted 1 of 1 images in ")
    assert lines[-1].endswith(f" images/s: {tmp_path / 'out'}")
    monkeypatch.setattr(module, "_MOST_LINES", 0)
    assert predict(checkpoint, photos, "--output", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "->" not in told
    assert "predicted 3 of 3 images in " in told


def test_a_second_run_can_leave_alone_what_is_there(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(checkpoint, photos, "--output", out) == 0
    (out / "y_overlay.png").unlink()
    (out / "a" / "x.png").write_bytes(b"kept")
    (out / "y.png").write_bytes(b"made again")
    capsys.readouterr()
    assert predict(checkpoint, photos, "--output", out, "--skip-existing", "--json") == 0
    result = said(capsys)
    assert [entry["image"] for entry in result["outputs"]] == [str(photos / "y.png")]
    assert result["skipped"] == [str(photos / "a" / "x.png"), str(photos / "b" / "x.jpg")]
    assert (out / "a" / "x.png").read_bytes() == b"kept"
    assert Image.open(out / "y.png").size == (40, 24)
    assert predict(checkpoint, photos, "--output", out, "--skip-existing") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"predicted 0 of 3 images, 3 were there: {out}"
    assert predict(checkpoint, photos, "--output", out) == 0
    assert Image.open(out / "a" / "x.png").size == (40, 24)


def test_frames_of_a_video(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "drive.mp4")
    assert predict(checkpoint, video, "--every", "2", "--output", tmp_path / "out", "--json") == 0
    assert [entry["image"] for entry in said(capsys)["outputs"]] == [f"{video}#0", f"{video}#20"]
    stems = ("drive/frame-000000", "drive/frame-000020")
    assert files(tmp_path / "out") == sorted(f"{stem}{end}" for stem in stems for end in (".png", "_overlay.png"))


def test_a_damaged_image_is_named_and_the_others_are_done(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = photos / "a" / "x.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    assert predict(checkpoint, photos, "--output", tmp_path / "out", "--json") == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(f"essnet: {damaged}: cannot be read as an image (")
    assert captured.err.splitlines()[-1].endswith("); 1 of 3 images could not be read")
    result = json.loads(captured.out.splitlines()[-1])
    assert result["unreadable"] == [str(damaged)]
    assert [entry["image"] for entry in result["outputs"]] == [str(photos / "b" / "x.jpg"), str(photos / "y.png")]
    assert predict(checkpoint, damaged, "--output", tmp_path / "other") == 2
    assert "could not be read" not in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos/a", "photos/b"], "photos/b/x.jpg: its result x.png would overwrite that of photos/a/x.png; rename"),
        (["photos", "--output", "photos"], "--output: the result a/x.png would overwrite the image photos/a/x.png"),
        (["photos", "photos/y.png"], "photos/y.png: its result y.png would overwrite that of photos/y.png"),
        (
            ["photos/y.png", "y_overlay.jpg"],
            "y_overlay.jpg: its result y_overlay.png would overwrite that of photos/y.png",
        ),
        (["photos", "empty"], "empty: holds no image or video"),
        (["photos", "--batch-size", "0"], "--batch-size"),
        (["photos", "--every", "-1"], "--every"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    checkpoint: Path,
    photos: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos.parent / "empty").mkdir()
    (photos.parent / "y_overlay.jpg").write_bytes((photos / "b" / "x.jpg").read_bytes())
    before = files(photos.parent)
    assert predict(checkpoint, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert files(photos.parent) == before


def test_interrupted_it_leaves_whole_files(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        (photos / f"{number}.png").write_bytes((photos / "y.png").read_bytes())
    save, saved = PredictionFiles.save, 0

    def interrupting(self: PredictionFiles, *arguments: Any) -> Any:
        nonlocal saved
        saved += 1
        if saved == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return save(self, *arguments)

    monkeypatch.setattr(PredictionFiles, "save", interrupting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    out = tmp_path / "out"
    try:
        assert predict(checkpoint, photos, "--output", out, "--batch-size", "2") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "interrupted" in capsys.readouterr().out
    left = files(out)
    assert 2 <= len(left) < 2 * 43
    for name in left:
        Image.open(out / name).load()
    monkeypatch.setattr(PredictionFiles, "save", save)
    assert predict(checkpoint, photos, "--output", out, "--skip-existing", "--json") == 0
    assert len(said(capsys)["skipped"]) == sum(name.endswith("_overlay.png") for name in left)
    assert len(files(out)) == 2 * 43


def test_the_overlay_of_a_video_is_a_video(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = write_video(photos / "drive.mp4"), tmp_path / "out"
    overlay = out / "drive_overlay.mp4"
    assert predict(checkpoint, photos, "--overlay-video", "--side-by-side", "--output", out, "--json") == 0
    result = said(capsys)
    assert result["videos"] == [{"video": str(video), "overlay": str(overlay)}]
    assert [entry["image"] for entry in result["outputs"]][-3:] == [f"{video}#{number}" for number in (0, 10, 20)]
    written = VideoFrames(overlay)
    assert (written.count, written.per_second) == (25, 10.0)
    for number in (0, 24):
        image = written.read(number)[:48, :64].astype(int)  # the video itself, on the left
        assert np.abs(image - (10 * number, 100, 0)).mean() < 12
    # What is there is left alone; a missing picture needs no video, and a missing video no pictures.
    (out / "drive" / "frame-000010.png").unlink()
    before = overlay.stat().st_mtime_ns
    assert predict(checkpoint, photos, "--overlay-video", "--output", out, "--skip-existing", "--json") == 0
    result = said(capsys)
    assert ([entry["image"] for entry in result["outputs"]], result["videos"]) == ([f"{video}#10"], [])
    assert (overlay.stat().st_mtime_ns, len(result["skipped"])) == (before, 5)
    overlay.unlink()
    assert predict(checkpoint, photos, "--overlay-video", "--output", out, "--skip-existing") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{video} -> {overlay}" in lines
    assert lines[-1].startswith("predicted 25 of 28 images in ")
    assert VideoFrames(overlay).count == 25


def test_the_overlay_of_a_video_that_is_cut_off_ends_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "drive.mp4")
    read = VideoFrames.read

    def cut_off(self: VideoFrames, number: int) -> Any:
        if number >= 20:
            raise InputError(f"{self.path}: cut off before frame {number} of the 25 that it says it has")
        return read(self, number)

    monkeypatch.setattr(VideoFrames, "read", cut_off)
    out = tmp_path / "out"
    assert predict(checkpoint, video, "--overlay-video", "--every", "9", "--output", out, "--json") == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].endswith("that it says it has; 5 of 25 images could not be read")
    (written,) = json.loads(captured.out.splitlines()[-1])["videos"]
    monkeypatch.undo()
    assert VideoFrames(Path(written["overlay"])).count == 20
    assert files(out) == ["drive/frame-000000.png", "drive/frame-000000_overlay.png", "drive_overlay.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_half_video(
    checkpoint: Path,
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = write_video(tmp_path / "drive.mp4")
    add = VideoFile.add

    def interrupting(self: VideoFile, frame: Any) -> None:
        add(self, frame)
        if self.frames == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(VideoFile, "add", interrupting)
    before, terminate = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    out = tmp_path / "out"
    try:
        assert predict(checkpoint, video, "--overlay-video", "--output", out, "--batch-size", "1") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == terminate
    assert "interrupted" in capsys.readouterr().out
    assert not [name for name in files(out) if "mp4" in name]

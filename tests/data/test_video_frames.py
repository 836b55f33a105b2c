from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from essnet.config import InputError
from essnet.data.video_frames import VideoFrames, quiet_cv2


def write_video(path: Path, *, frames: int = 25, per_second: int = 10, size: tuple[int, int] = (48, 64)) -> Path:
    """Frame i is of the colour (10 i, 100, 0) in red, green and blue."""
    cv2 = quiet_cv2()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), per_second, (size[1], size[0]))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((*size, 3), (0, 100, 10 * number), np.uint8))
    writer.release()
    return path


def test_frames_are_those_asked_for_upright_and_in_colour(tmp_path: Path) -> None:
    video = VideoFrames(write_video(tmp_path / "x.mp4"))
    assert (video.count, video.per_second, video.size) == (25, 10.0, (48, 64))
    for number in (0, 1, 7, 24):
        frame = video.read(number)
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.astype(int) - (10 * number, 100, 0)).max() < 12


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1.0, [0, 10, 20]), (0.5, [0, 5, 10, 15, 20]), (9.0, [0]), (0.0, list(range(25)))]
)
def test_how_far_apart(tmp_path: Path, seconds: float, expected: list[int]) -> None:
    assert list(VideoFrames(write_video(tmp_path / "x.mp4")).every(seconds)) == expected


def test_frames_do_not_go_back(tmp_path: Path) -> None:
    video = VideoFrames(write_video(tmp_path / "x.mp4"))
    video.read(5)
    with pytest.raises(ValueError, match="frame 5 was passed; the next one is 6"):
        video.read(5)


def test_what_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(write_video(tmp_path / "x.mp4").read_bytes()[:200])
    for name in ("words.mp4", "cut.mp4"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read as a video"):
            VideoFrames(tmp_path / name)
    with pytest.raises(InputError, match=r"gone\.mp4: not found"):
        VideoFrames(tmp_path / "gone.mp4")
    assert capfd.readouterr().err == ""  # FFmpeg's own words


def test_a_frame_that_is_not_there(tmp_path: Path) -> None:
    video = VideoFrames(write_video(tmp_path / "x.mp4", frames=3))
    with pytest.raises(InputError, match=r"x\.mp4: cut off before frame 9 of the 3 that it says it has"):
        video.read(9)

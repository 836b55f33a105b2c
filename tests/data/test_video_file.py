from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from essnet.atomic_files import temporary_path
from essnet.data.video_file import VideoFile
from essnet.data.video_frames import VideoFrames


def test_frames_and_their_rate_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.mp4"
    video = VideoFile(path, per_second=30000 / 1001)
    for number in range(25):
        video.add(np.full((48, 64, 3), (10 * number, 100, 0), np.uint8))
    assert not path.exists()
    video.finish()
    assert [one.name for one in path.parent.iterdir()] == ["x.mp4"]
    found = VideoFrames(path)
    assert (found.count, found.size) == (25, (48, 64))
    assert found.per_second == pytest.approx(30000 / 1001)
    for number in (0, 7, 24):
        assert np.abs(found.read(number).astype(int) - (10 * number, 100, 0)).max() < 12
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")
    assert b"avc1" in head


def test_what_is_discarded_leaves_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"an earlier one")
    video = VideoFile(path, per_second=10)
    for _ in range(100):  # the encoder holds some back
        video.add(np.zeros((48, 64, 3), np.uint8))
    assert len(list(tmp_path.iterdir())) == 2
    video.discard()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"x.mp4": b"an earlier one"}


def test_what_a_killed_process_left_of_it_goes(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, others = (temporary_path(tmp_path / name).name for name in ("x [1].mp4", "y.mp4"))
    for name in (left.replace(str(os.getpid()), str(ended.pid)), left.replace(str(os.getpid()), str(os.getppid())),
                 others.replace(str(os.getpid()), str(ended.pid))):  # fmt: skip
        (tmp_path / name).touch()
    VideoFile(tmp_path / "x [1].mp4", per_second=10).discard()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        f".x [1].mp4.{os.getppid()}.partial",  # of one that may still be writing
        f".y.mp4.{ended.pid}.partial",
    ]


@pytest.fixture
def a_small_disk() -> Iterator[None]:
    """No file grows beyond 50 kB, as if the disk were full."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("a_small_disk")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(20, 64, 64, 3), dtype=np.uint8)
    video = VideoFile(tmp_path / "x.mp4", per_second=10)

    def write() -> None:
        for frame in noise:
            video.add(frame)
        video.finish()

    with pytest.raises(OSError, match=r"too large: '.*/x\.mp4'"):
        write()
    video.discard()
    assert list(tmp_path.iterdir()) == []

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from essnet.config.errors import InputError
from essnet.downloads.archive import Archive, DownloadFailed
from essnet.downloads.members import DamagedArchive
from essnet.downloads.unpacking import unpack
from essnet.progress import Progress
from tests.downloads.archives import files_below, tar_of, tar_with, zip_of, zip_with_link

ROOT = Path(__file__).resolve().parents[2]
NOISE = random.Random(0).randbytes(50_000)
FILES = {"top/a/one.txt": b"one", "top/a/two.bin": NOISE, "top/empty": b"", "beside.txt": b"beside"}
_ZIP = zip_of({"n": b"abc"})
WRONG_OFFSET = _ZIP[:-6] + (4_000_000).to_bytes(4, "little") + _ZIP[-2:]
MAKERS = {"zip": zip_of, "tar": tar_of, "tgz": lambda files: tar_of(files, gzipped=True)}


def silent(what: str, done: int, total: int) -> None:
    pass


def unpack_bytes(
    folder: Path, content: bytes, *, into: str = ".", without: str = "", progress: Progress = silent
) -> dict[str, int]:
    path = folder / "archive"
    path.write_bytes(content)
    root = folder / "root"
    root.mkdir(exist_ok=True)
    archive = Archive(address="http://127.0.0.1/archive", into=into, without=without)
    return unpack(archive, path, root=root, staging=folder / "staging", progress=progress)


@pytest.mark.parametrize("kind", MAKERS)
def test_files_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    sizes = unpack_bytes(tmp_path, MAKERS[kind](FILES))
    assert files_below(tmp_path / "root") == FILES
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("kind", MAKERS)
def test_the_top_folder_is_left_out_and_another_put_before(tmp_path: Path, kind: str) -> None:
    unpack_bytes(tmp_path, MAKERS[kind](FILES), into="in/here", without="top")
    assert set(files_below(tmp_path / "root")) == {
        "in/here/a/one.txt",
        "in/here/a/two.bin",
        "in/here/empty",
        "in/here/beside.txt",
    }


def test_what_lies_there_already_is_replaced_or_left_alone(tmp_path: Path) -> None:
    unpack_bytes(tmp_path, zip_of({"a/one.txt": b"old", "a/kept.txt": b"kept"}))
    unpack_bytes(tmp_path, zip_of({"a/one.txt": b"new"}))
    assert files_below(tmp_path / "root") == {"a/one.txt": b"new", "a/kept.txt": b"kept"}


def test_what_a_crash_left_behind_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "staging" / "top").mkdir(parents=True)
    (tmp_path / "staging" / "top" / "half").write_bytes(b"half")
    unpack_bytes(tmp_path, zip_of(FILES))
    assert files_below(tmp_path / "root") == FILES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zip_of({"../out.txt": b"x"}, folders=False), "leads outside the folder"),
        (zip_of({"a/../../out.txt": b"x"}, folders=False), "leads outside the folder"),
        (zip_of({"/tmp/out.txt": b"x"}, folders=False), "leads outside the folder"),
        (zip_of({"..\\out.txt": b"x"}, folders=False), "leads outside the folder"),
        (tar_of({"../out.txt": b"x"}), "leads outside the folder"),
        (tar_of({"/tmp/out.txt": b"x"}), "leads outside the folder"),
        (zip_with_link("link", "/etc/passwd"), "is a link or a device"),
        (tar_with("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (tar_with("link", tarfile.SYMTYPE, "../.."), "is a link or a device"),
        (tar_with("link", tarfile.LNKTYPE, "harmless.txt"), "is a link or a device"),
        (tar_with("device", tarfile.CHRTYPE), "is a link or a device"),
        (tar_with("pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (zip_of({}), "holds no file"),
        (zip_of({"n": b""}).replace(b"n", b"\0"), "is damaged"),
        (WRONG_OFFSET, "is damaged"),
        (tar_with(".", tarfile.REGTYPE), "has no name of its own"),
        (zip_of({"a": b"x", "a/b": b"y"}, folders=False), "cannot be laid out"),
        (zip_of({"a/b": b"y", "a": b"x"}, folders=False), "cannot be laid out"),
        (tar_of({"n" * 300: b"x"}), "cannot be laid out .File name too long."),
        (zip_of({"downloads/first.zip.json": b"{}"}), "belongs into downloads/"),
        (zip_of({"./downloads/.lock": b""}, folders=False), "belongs into downloads/"),
        (zip_of({"downloads": b""}), "belongs into downloads/"),
        (b"<html>no archive</html>", "is damaged"),
        (b"", "is damaged"),
        (zip_of(FILES)[:-30], "is damaged"),
        (tar_of(FILES)[:20_000], "is damaged"),
        (tar_of(FILES, gzipped=True)[:-4], "is damaged"),
    ],
)
def test_an_archive_not_to_be_trusted_leaves_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DamagedArchive, match=words) as refused:
        unpack_bytes(tmp_path, content)
    assert "\n" not in str(refused.value)
    assert set(files_below(tmp_path)) == {"archive"}


def test_a_member_that_is_the_folder_left_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedArchive, match="its member 'top' has no name of its own"):
        unpack_bytes(tmp_path, zip_of({"top": b"x"}), into="in", without="top")
    assert set(files_below(tmp_path)) == {"archive"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_told_alike_in_every_compression(tmp_path: Path, compression: int) -> None:
    content = bytearray(zip_of({"noise": NOISE}, compression=compression))
    unpack_bytes(tmp_path, bytes(content))
    shutil.rmtree(tmp_path / "root")
    content[60:120] = bytes(60)
    with pytest.raises(DamagedArchive, match="is damaged") as refused:
        unpack_bytes(tmp_path, bytes(content))
    assert "\n" not in str(refused.value)
    assert set(files_below(tmp_path)) == {"archive"}


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system that can be written, at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_folder_below_the_root_may_be_on_another_disk(tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "top").symlink_to(other_disk)
    (other_disk / "empty").write_bytes(b"old")
    unpack_bytes(tmp_path, zip_of(FILES))
    assert files_below(other_disk) == {"a/one.txt": b"one", "a/two.bin": NOISE, "empty": b""}
    assert (tmp_path / "root" / "top").is_symlink()
    assert (tmp_path / "root" / "beside.txt").read_bytes() == b"beside"
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("way", ["a/one.txt/folder", "a"])
def test_a_place_that_is_taken_is_one_line(tmp_path: Path, way: str) -> None:
    (tmp_path / "root").mkdir()
    if way == "a":
        (tmp_path / "root" / "a").write_bytes(b"a file")
    else:
        (tmp_path / "root" / way).mkdir(parents=True)
    with pytest.raises(DownloadFailed, match=r"root/a/one\.txt: no file can be put there .*archive is kept") as failed:
        unpack_bytes(tmp_path, zip_of({"a/one.txt": b"one"}))
    assert not isinstance(failed.value, DamagedArchive)
    assert not (tmp_path / "staging").exists()
    assert (tmp_path / "root" / way).exists()


def test_ctrl_c_leaves_nothing_half(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        assert files_below(tmp_path / "staging")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_bytes(tmp_path, zip_of(FILES), progress=stop)
    assert set(files_below(tmp_path)) == {"archive"}
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("position", [60, -60])
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_flipped_bit_is_found(tmp_path: Path, kind: str, position: int) -> None:
    files = {"noise": NOISE}
    content = bytearray(
        zip_of(files, compression=zipfile.ZIP_STORED) if kind == "zip" else gzip.compress(tar_of(files), 0, mtime=0)
    )
    middle = content.index(NOISE[20_000:20_100])
    content[middle + position] ^= 1
    with pytest.raises(DamagedArchive, match="is damaged"):
        unpack_bytes(tmp_path, bytes(content))


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_bomb_is_refused(tmp_path: Path, kind: str) -> None:
    content = MAKERS[kind]({"zeros": bytes(8 << 20)})
    assert len(content) < 20_000
    with pytest.raises(DamagedArchive, match=r"and unpacks to 8\.0 MiB and more"):
        unpack_bytes(tmp_path, content)
    assert set(files_below(tmp_path)) == {"archive"}


def test_a_zip_that_says_less_than_it_holds_is_found(tmp_path: Path) -> None:
    content = zip_of({"noise": NOISE})
    said = len(NOISE).to_bytes(4, "little")
    assert content.count(said) >= 2
    with pytest.raises(DamagedArchive):
        unpack_bytes(tmp_path, content.replace(said, (1000).to_bytes(4, "little")))
    assert set(files_below(tmp_path)) == {"archive"}


def test_too_little_room_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = namedtuple("free", "free")(40_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(InputError, match=r"unpacking archive takes 48\.8 KiB at least, and 39\.1 KiB are free"):
        unpack_bytes(tmp_path, zip_of(FILES))
    assert set(files_below(tmp_path)) == {"archive"}


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half(tmp_path: Path) -> None:
    """The limit on the size of files is the system's own refusal to write further."""
    (tmp_path / "archive").write_bytes(zip_of(FILES))
    (tmp_path / "root").mkdir()
    program = f"""
from pathlib import Path
from essnet.downloads.archive import Archive
from essnet.downloads.unpacking import unpack
folder = Path({str(tmp_path)!r})
unpack(Archive(address="http://127.0.0.1/archive"), folder / "archive", root=folder / "root",
       staging=folder / "staging", progress=lambda what, done, total: None)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )
    assert f"{DownloadFailed.__name__}: {tmp_path / 'staging'}: the file size is limited" in done.stderr
    assert f"{tmp_path / 'archive'} is kept" in done.stderr
    assert set(files_below(tmp_path)) == {"archive"}
    assert os.listdir(tmp_path / "root") == []

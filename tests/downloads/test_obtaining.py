from __future__ import annotations

import random
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from essnet.config.errors import InputError
from essnet.downloads.archive import Archive, DownloadFailed
from essnet.downloads.catalogue import DataSet
from essnet.downloads.fetching import Patience
from essnet.downloads.obtaining import Obtained, obtain, plan
from essnet.file_lock import hold
from tests.downloads.archives import files_below, tar_of, zip_of
from tests.downloads.server import Served, Server

FIRST = {"first/a.txt": b"a", "first/b.bin": random.Random(0).randbytes(700_000)}
SECOND = {"second/c.txt": b"c"}


@dataclass
class Place:
    """A data set of two archives, and the folder it goes to."""

    server: Server
    root: Path
    said: list[str] = field(default_factory=list)

    @property
    def data_set(self) -> DataSet:
        archives = [Archive(address=self.server.address(name)) for name in ("first.zip", "second.tar")]
        return DataSet(title="two", licences=(), archives=tuple(archives))

    @property
    def sized_data_set(self) -> DataSet:
        """The same where the sizes of the archives are published."""
        sizes = (len(zip_of(FIRST)), len(tar_of(SECOND)))
        archives = [replace(one, size=size) for one, size in zip(self.data_set.archives, sizes, strict=True)]
        return replace(self.data_set, archives=tuple(archives))

    @property
    def sent(self) -> int:
        return sum(asked.sent for asked in self.server.asked)

    def obtain(
        self,
        data_set: DataSet | None = None,
        *,
        keep_archives: bool = False,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> list[Obtained]:
        return obtain(
            data_set or self.data_set,
            self.root,
            keep_archives=keep_archives,
            progress=progress,
            say=self.said.append,
            patience=Patience(attempts=1),
        )

    def data(self) -> dict[str, bytes]:
        return {name: content for name, content in files_below(self.root).items() if not name.startswith("downloads/")}

    def kept(self) -> set[str]:
        return {path.name for path in (self.root / "downloads").iterdir()}


RECORDS = {".lock", "first.zip.json", "second.tar.json"}


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    server.files |= {"first.zip": Served(zip_of(FIRST)), "second.tar": Served(tar_of(SECOND))}
    return Place(server, tmp_path / "root")


def test_a_data_set_arrives_once(place: Place) -> None:
    obtained = place.obtain()
    assert place.data() == FIRST | SECOND
    assert [one.unpacked.bytes for one in obtained] == [len(zip_of(FIRST)), len(tar_of(SECOND))]
    assert [(one.unpacked.verified, one.skipped) for one in obtained] == [("size", False)] * 2
    assert place.kept() == RECORDS
    again = place.obtain()
    assert [one.skipped for one in again] == [True, True]
    assert [one.unpacked for one in again] == [one.unpacked for one in obtained]
    assert len(place.server.asked) == 2


def test_archives_are_kept_where_that_is_wanted(place: Place) -> None:
    place.obtain(keep_archives=True)
    assert place.kept() == RECORDS | {"first.zip", "second.tar"}
    shutil.rmtree(place.root / "first")
    place.obtain(keep_archives=True)
    assert place.data() == FIRST | SECOND
    assert len(place.server.asked) == 2


def test_a_part_that_two_data_sets_share_comes_once(place: Place) -> None:
    first, second = place.data_set.archives
    place.obtain(replace(place.data_set, archives=(first,)))
    place.obtain(replace(place.data_set, archives=(second, first)))
    assert [asked.path for asked in place.server.asked] == ["/first.zip", "/second.tar"]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"cut")])
def test_files_that_are_gone_or_cut_come_again(place: Place, damage: Callable[[Path], object]) -> None:
    place.obtain()
    damage(place.root / "first" / "b.bin")
    again = place.obtain()
    assert [one.skipped for one in again] == [False, True]
    assert "first.zip: 1 of its 2 files are gone, such as first/b.bin" in place.said
    assert place.data() == FIRST | SECOND


def test_a_damaged_record_is_as_none(place: Place) -> None:
    place.obtain()
    (place.root / "downloads" / "first.zip.json").write_text("{")
    (place.root / "downloads" / "second.tar.json").write_text("[]")
    assert [one.skipped for one in place.obtain()] == [False, False]


def test_unpacking_that_was_interrupted_is_made_good(place: Place) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "unpacking first.zip":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.obtain(progress=stop)
    assert place.data() == {}  # what is half done is nowhere where a reader looks
    assert place.kept() == {".lock", "first.zip"}
    place.obtain()
    assert place.data() == FIRST | SECOND
    assert place.kept() == RECORDS
    assert place.sent == len(zip_of(FIRST)) + len(tar_of(SECOND))


def test_a_crash_between_moving_and_noting_is_made_good(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("essnet.downloads.obtaining.write_record", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.obtain()
    assert place.data() == FIRST
    place.obtain()
    assert place.data() == FIRST | SECOND
    assert place.sent == len(zip_of(FIRST)) + len(tar_of(SECOND))


def test_a_crash_before_the_archive_is_deleted_is_made_good(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.unlink

    def crash(path: Path, missing_ok: bool = False) -> None:
        if path.name == "first.zip":
            raise KeyboardInterrupt
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            place.obtain()
    assert "first.zip" in place.kept()
    assert [one.skipped for one in place.obtain()] == [True, False]
    assert place.kept() == RECORDS
    assert place.data() == FIRST | SECOND


def test_archives_that_were_kept_go_when_that_is_not_wanted_any_more(place: Place) -> None:
    place.obtain(keep_archives=True)
    place.obtain(keep_archives=True)
    assert place.kept() == RECORDS | {"first.zip", "second.tar"}
    assert [one.skipped for one in place.obtain()] == [True, True]
    assert place.kept() == RECORDS
    assert "first.zip: is unpacked already; the archive is deleted" in place.said
    assert len(place.server.asked) == 2


def test_an_archive_that_cannot_be_laid_out_is_set_aside(place: Place) -> None:
    place.server.files["first.zip"] = Served(zip_of({"a": b"x", "a/b": b"y"}, folders=False))
    with pytest.raises(DownloadFailed, match=r"cannot be laid out .*set aside as .*first\.zip\.wrong"):
        place.obtain()
    assert place.data() == {}
    assert place.kept() == {".lock", "first.zip.wrong"}


def test_a_download_that_was_interrupted_goes_on(place: Place) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.obtain(progress=stop)
    part = (place.root / "downloads" / "first.zip.part").stat().st_size
    assert part > 300_000
    place.obtain()
    assert place.server.asked[1].range == f"bytes={part}-"
    assert place.data() == FIRST | SECOND


def test_a_damaged_archive_is_set_aside_and_comes_anew(place: Place) -> None:
    whole = place.server.files["first.zip"]
    place.server.files["first.zip"] = Served(whole.content[:-40])
    with pytest.raises(DownloadFailed, match=r"first\.zip: is damaged .*set aside as .*first\.zip\.wrong"):
        place.obtain()
    assert place.data() == {}
    place.server.files["first.zip"] = whole
    place.obtain()
    assert place.data() == FIRST | SECOND


def test_room_for_all_of_it_is_asked_for_beforehand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [3 << 20, 1 << 20]
    archives = [replace(one, size=size) for one, size in zip(place.data_set.archives, sizes, strict=True)]
    data_set = replace(place.data_set, archives=tuple(archives))
    assert plan(data_set, place.root, keep_archives=False).needed_bytes == 6 << 20  # the first and what is in it
    assert plan(data_set, place.root, keep_archives=True).needed_bytes == 8 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("free", "free")(5 << 20))
    with pytest.raises(InputError, match=r"takes 6\.0 MiB at least, and 5\.0 MiB are free; free 1\.0 MiB or choose"):
        place.obtain(data_set)
    assert place.server.asked == []
    part = place.root / "downloads" / "first.zip.part"
    part.write_bytes(bytes(2 << 20))
    assert plan(data_set, place.root, keep_archives=False).needed_bytes == 4 << 20  # 1 is to come, and what is in it


@pytest.mark.parametrize("left", ["first.zip.unpacking", "of_another_data_set.zip.unpacking"])
def test_what_was_half_unpacked_does_not_take_the_room(
    place: Place, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    staging = place.root / "downloads" / left / "first"
    staging.mkdir(parents=True)
    (staging / "b.bin").write_bytes(bytes(2 << 20))
    small_disk(monkeypatch, place.root, 3 << 20)
    place.obtain(place.sized_data_set)
    assert place.data() == FIRST | SECOND
    assert place.kept() == RECORDS


def test_archives_that_are_unpacked_do_not_take_the_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    both = place.sized_data_set
    place.obtain(replace(both, archives=both.archives[:1]), keep_archives=True)
    small_disk(monkeypatch, place.root, bytes_below(place.root) + 100)
    with pytest.raises(InputError, match=r"takes 20\.0 KiB at least, and \d+ bytes are free"):
        place.obtain(both, keep_archives=True)
    place.obtain(both)
    assert place.data() == FIRST | SECOND


def small_disk(monkeypatch: pytest.MonkeyPatch, root: Path, size: int) -> None:
    """Let the disk have `size` bytes for what is below `root`."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(size - bytes_below(root)))


def bytes_below(root: Path) -> int:
    return sum(map(len, files_below(root).values()))


def test_two_at_once_are_not_let_in(place: Place) -> None:
    with hold(place.root / "downloads" / ".lock"), pytest.raises(InputError, match="is downloading there"):
        place.obtain()


def test_a_file_in_the_way_is_one_line(place: Place) -> None:
    place.root.write_text("a file")
    with pytest.raises(InputError, match=r"^--root: .*root/downloads: Not a directory; choose a folder"):
        place.obtain()

"""What a folder held at a moment, kept in a storage: seen whole or not at all, whoever dies while it is written.

    <prefix>/snapshots/000002-000017.json    which files the folder had, by their checksums: attempt 2, number 17
    <prefix>/files/..., <prefix>/checkpoints/...
                                             their contents, named by their checksums, written before the list

The newest list counts. Lists are never changed, and contents have the name of what they are, so that nothing that is
half written is ever taken for whole. An attempt is one process that writes; a newer one takes over from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from essnet import __version__
from essnet.atomic_files import write_atomically
from essnet.checksums import sha256_of
from essnet.config import InputError
from essnet.format_version import refuse_newer
from essnet.sweep.storage import Storage, StorageError

FORMAT_VERSION = 1
LISTS = "snapshots"


@dataclass(frozen=True)
class Snapshot:
    """A list of files, and of the links between them.

    `files` has a file's path -> where its content is, as `<part>/<SHA-256>`; `links` a link's path -> its target.
    """

    attempt: int
    number: int
    files: Mapping[str, str]
    links: Mapping[str, str]
    ended: bool = False
    """Whether the attempt has ended by itself: nothing more comes of it."""

    @property
    def name(self) -> str:
        """Name of the list; a newer one comes later in the alphabet."""
        return f"{self.attempt:06d}-{self.number:06d}.json"

    def to_bytes(self) -> bytes:
        """Return the list as JSON."""
        content = {
            "format_version": FORMAT_VERSION,
            "essnet_version": __version__,
            "files": dict(self.files),
            "links": dict(self.links),
            "ended": self.ended,
        }
        return json.dumps(content).encode()


class Snapshots:
    """The snapshots of one folder, below `prefix` in a storage."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self.storage = storage
        self.prefix = prefix

    def newest(self) -> Snapshot | None:
        """Return the newest snapshot, or None; raises StorageError."""
        return next(self.newest_first(), None)

    def newest_first(self) -> Iterator[Snapshot]:
        """Yield the snapshots that there are.

        Raises StorageError, also for one whose files would lie elsewhere, or that is of a newer format.
        """
        for name in reversed(self.names()):
            with suppress(FileNotFoundError, ValueError, KeyError):  # a newer one has replaced it; or it is half there
                content = json.loads(self.storage.read(f"{self.prefix}/{LISTS}/{name}"))
                self._check_format(name, content)
                attempt, _, number = name.removesuffix(".json").partition("-")
                snapshot = Snapshot(int(attempt), int(number), content["files"], content["links"], content["ended"])
                self._check_inside(name, snapshot)
                yield snapshot

    def _check_format(self, name: str, content: Mapping[str, object]) -> None:
        what = f"storage: {self.storage.address}: {self.prefix}/{LISTS}/{name}"
        try:
            refuse_newer(
                what,
                content["format_version"],
                known=FORMAT_VERSION,
                written_by=content.get("essnet_version"),
            )
        except InputError as error:
            raise StorageError(str(error)) from None

    def _check_inside(self, name: str, snapshot: Snapshot) -> None:
        """Check that no path leads out of the folder, and no content out of the prefix: a storage may be a stranger's.

        A link has its target beside it.
        """
        names = [*snapshot.files, *snapshot.files.values(), *snapshot.links]
        leading_out = [one for one in names if not _is_inside(one)]
        leading_out += [one for one in snapshot.links.values() if not _is_inside(one) or "/" in one]
        if leading_out:
            raise StorageError(
                f"storage: {self.storage.address}: {self.prefix}/{LISTS}/{name}: {leading_out[0]!r} leads elsewhere; "
                "no process of a sweep wrote this"
            )

    def names(self) -> list[str]:
        """Return the names of all lists, the oldest first; raises StorageError."""
        return self.storage.names(f"{self.prefix}/{LISTS}")

    def fetch(
        self,
        snapshot: Snapshot,
        folder: Path,
        *,
        wanted: Callable[[str], bool] = lambda _: True,
        known: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Bring the wanted files and links of a snapshot into a folder; return which files it now has, and of what.

        `known` is what was returned before: it is not fetched again, and what the snapshot no longer has is removed.
        Files come before links, and what goes goes last.

        Raises
        ------
        FileNotFoundError
            If a content is gone: a newer snapshot has replaced this one.
        StorageError
            If a content is not what was written, or the storage does not answer.
        """
        known = known or {}
        files = {path: content for path, content in snapshot.files.items() if wanted(path)}
        for path, content in files.items():
            if known.get(path) != content:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / path, lambda temporary, content=content: self._download(content, temporary))  # type: ignore[misc]
        for path, target in snapshot.links.items():
            if wanted(path):
                _link(folder / path, target)
        for path in known.keys() - snapshot.files.keys():
            (folder / path).unlink(missing_ok=True)
            with suppress(OSError):  # of a checkpoint, whose folder is empty now
                (folder / path).parent.rmdir()
        return {**{path: content for path, content in known.items() if path in snapshot.files}, **files}

    def _download(self, content: str, path: Path) -> None:
        self.storage.download(f"{self.prefix}/{content}", path)
        if sha256_of(path) != content.rpartition("/")[2]:
            raise StorageError(f"storage: {self.storage.address}: {self.prefix}/{content}: is not what was written")


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)

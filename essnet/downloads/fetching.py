"""One file over HTTP: continued where it was cut, refused where it is not what it should be, verified as it comes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
import urllib3.exceptions

from essnet import __version__
from essnet.downloads.archive import Archive, DownloadFailed, readable
from essnet.downloads.disk import check_room, told_when_full
from essnet.downloads.first_bytes import take_first, unlike
from essnet.downloads.partial_file import PartialFile, new_hash
from essnet.downloads.redirects import CarefulSession
from essnet.progress import Progress

Say = Callable[[str], None]
"""Is told one line for people."""

_BLOCK = 1 << 18
_LONGEST_WAIT_SECONDS = 60.0
_MEANWHILE_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_WEB_PAGES = ("text/html", "application/xhtml+xml")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _CanBeTriedAgain(Exception):
    """The connection was cut, or the server is busy; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long one waits for a server."""

    connect_seconds: float = 20.0
    silence_seconds: float = 60.0
    """Without a single byte."""
    attempts: int = 6
    """In a row that bring nothing: no byte beyond those that were there at any time before."""
    wait_seconds: float = 1.0
    """Before the second attempt; doubled for each further one, up to a minute."""


def fetch(archive: Archive, path: Path, *, progress: Progress, say: Say, patience: Patience) -> str | None:
    """Bring `archive` to `path`; return what was verified: a checksum's name, `size`, or None if neither is known.

    What a former call left in `<path>.part` is continued. A file that is at `path` already is only verified. One with
    a wrong checksum or size is set aside as `<path>.wrong`. `progress` is told bytes.

    Raises
    ------
    DownloadFailed
        If the server refuses, sends something else or stays silent, the checksum is wrong, or the disk is full.
    InputError
        If it is known beforehand that the disk has too little room.
    """
    if path.exists():
        return _verify(archive, path, digest=_digest(archive, path, progress), total=None)
    part = PartialFile(archive, path)
    with told_when_full(part.path, kept="what has come of it is kept"):
        _fetch_whole(archive, part, progress=progress, say=say, patience=patience)
    verified = _verify(archive, part.path, digest=part.digest(), total=part.total)
    part.finish(path)
    return verified


def _digest(archive: Archive, path: Path, progress: Progress) -> str:
    checksum, size, done = new_hash(archive), path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum.update(block)
            done += len(block)
            progress(f"checking {archive.name}", done, size)
    return str(checksum.hexdigest())


def _verify(archive: Archive, path: Path, *, digest: str, total: int | None) -> str | None:
    size = path.stat().st_size
    if archive.checksum is not None and digest != archive.checksum.digest:
        kind = archive.checksum.algorithm
        _set_aside(archive, path, f"{kind} is {digest}, but {archive.checksum.digest} is published")
    if archive.checksum is not None:
        return archive.checksum.algorithm
    expected = total if archive.size is None else archive.size
    if expected is not None and size != expected:
        _set_aside(archive, path, f"has {size:,} bytes, but {expected:,} are published")
    return None if expected is None else "size"


def _set_aside(archive: Archive, path: Path, what: str) -> None:
    aside = path.with_name(f"{archive.name}.wrong")
    path.replace(aside)
    raise DownloadFailed(
        f"{archive.name}: {what}; it is set aside as {aside}, and the same command begins anew; if that ends alike, "
        f"another file lies at {archive.address} now"
    )


def _fetch_whole(archive: Archive, part: PartialFile, *, progress: Progress, say: Say, patience: Patience) -> None:
    if part.mark is not None:
        part.read_again(lambda done: progress(f"checking the beginning of {archive.name}", done, part.size))
    failures, most = 0, part.size
    with CarefulSession() as session:
        while True:
            try:
                _fetch_further(archive, part, session=session, progress=progress, patience=patience)
                return
            except _CanBeTriedAgain as error:
                failures = 1 if part.size > most else failures + 1
                most = max(most, part.size)  # a server that lets one begin anew again and again brings nothing
                kept = f"{readable(part.size)} are kept"
                if failures >= patience.attempts:
                    raise DownloadFailed(
                        f"{archive.address}: {error}, {failures} times in a row; {kept}, the same command goes on"
                    ) from error
                wait = min(patience.wait_seconds * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS)
                say(f"{archive.name}: {error}; {kept}, next attempt in {wait:.0f} s")
                time.sleep(wait)


def _fetch_further(
    archive: Archive, part: PartialFile, *, session: requests.Session, progress: Progress, patience: Patience
) -> None:
    # The bytes as they lie on the server: some servers declare a .tgz to be a gzipped tar, which would be unpacked.
    headers = {"User-Agent": f"essnet/{__version__}", "Accept-Encoding": "identity"}
    if part.mark is not None:
        if part.size == part.total:
            return
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.mark}
    with (
        _network_errors(archive, patience),
        session.get(
            archive.address,
            headers=headers,
            stream=True,
            timeout=(patience.connect_seconds, patience.silence_seconds),
        ) as response,
    ):
        _check_answer(archive, part, response)
        blocks = response.raw.stream(_BLOCK, decode_content=False)
        if response.status_code == requests.codes.partial_content:
            total = _total_of_rest(archive, part, response)
            _check_size(archive, part, total, there=part.size)
        else:
            total = _number(response.headers.get("Content-Length"))
            _check_size(archive, part, total, there=0)
            first = take_first(blocks)
            _check_first_bytes(archive, part, response, first)
            part.begin(response, total)  # only now: up to here the beginning that is there was the better one
            blocks = chain([first] if first else [], blocks)
        with part.path.open("ab") as file:
            for block in blocks:
                file.write(block)
                part.count(block)
                progress(archive.name, part.counted, total or 0)
    if total is not None and part.size < total:
        raise _CanBeTriedAgain("the connection was cut")


@contextmanager
def _network_errors(archive: Archive, patience: Patience) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise DownloadFailed(f"{archive.address}: no safe connection ({_reason(error)})") from error
    except requests.exceptions.ConnectTimeout as error:
        raise _CanBeTriedAgain(f"no connection within {patience.connect_seconds:g} s") from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _CanBeTriedAgain(f"no answer within {patience.silence_seconds:g} s") from error
    except urllib3.exceptions.LocationParseError as error:
        raise DownloadFailed(f"{archive.address}: leads to no possible address ({_reason(error)})") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise _CanBeTriedAgain("the connection was cut") from error
    except requests.exceptions.ConnectionError as error:
        raise _CanBeTriedAgain(f"no connection ({_reason(error)})") from error
    except requests.exceptions.RequestException as error:
        raise DownloadFailed(f"{archive.address}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error that libraries have wrapped several times."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            return " ".join(str(error).rpartition("): ")[2].split()) or type(error).__name__
        error = inner


def _check_answer(archive: Archive, part: PartialFile, response: requests.Response) -> None:
    status = response.status_code
    where, by_hand = _where(archive, response), _by_hand(part)
    answer = f"{status} {response.reason or ''}".strip()
    if status in _MEANWHILE_BUSY:
        raise _CanBeTriedAgain(f"the server answered {answer}")
    if status == requests.codes.requested_range_not_satisfiable:
        part.doubt()
        raise _CanBeTriedAgain("the file on the server is shorter than what is here")
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        raise DownloadFailed(f"{where}: answered {answer}: the server does not give it to this machine; {by_hand}")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise DownloadFailed(f"{where}: answered {answer}; the file may have moved: {by_hand}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in _WEB_PAGES:
        raise DownloadFailed(f"{where}: answered with a web page ({kind}) instead of the file; {by_hand}")


def _check_first_bytes(archive: Archive, part: PartialFile, response: requests.Response, first: bytes) -> None:
    """Without checksum nothing else would tell before the whole of it is there."""
    expected = unlike(archive.name, first) if archive.checksum is None else None
    if expected is not None:
        raise DownloadFailed(
            f"{_where(archive, response)}: answered with something that is no {expected} file: it begins with "
            f"{first[:40]!r}; {_by_hand(part)}"
        )


def _where(archive: Archive, response: requests.Response) -> str:
    return archive.address if response.url == archive.address else f"{archive.address} (now {response.url})"


def _by_hand(part: PartialFile) -> str:
    return f"download it otherwise, put it to {part.path.with_suffix('')}, and the same command goes on from there"


def _total_of_rest(archive: Archive, part: PartialFile, response: requests.Response) -> int | None:
    """Bytes of the whole file; a server need not repeat them with a part (`/*`): If-Range sees to it that it fits."""
    known = archive.size if part.total is None else part.total
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is not None and int(match[1]) == part.size:
        total = known if match[2] == "*" else int(match[2])
        if part.total in (None, total):
            return total
    part.doubt()
    raise _CanBeTriedAgain("the server sent another part than the one asked for")


def _check_size(archive: Archive, part: PartialFile, total: int | None, *, there: int) -> None:
    if total is None:
        return
    if archive.size is not None and total != archive.size:
        raise DownloadFailed(
            f"{archive.address}: the server has {total:,} bytes, but {archive.size:,} are published: it is another file"
        )
    check_room(part.path.parent, total - there, what=f"the rest of {archive.name}")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None

from __future__ import annotations

import hashlib
import random
import shutil
import socket
import ssl
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from essnet.config.errors import InputError
from essnet.downloads.archive import Archive, Checksum, DownloadFailed
from essnet.downloads.fetching import Patience, fetch
from tests.downloads.server import Served, Server, serving

MIB = 1 << 20
CONTENT = b"PK" + random.Random(0).randbytes(3 * MIB + 15)
OTHER = b"PK" + random.Random(1).randbytes(3 * MIB + 15)
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Place:
    """Where a file is fetched to, and what was told meanwhile."""

    server: Server
    path: Path
    said: list[str] = field(default_factory=list)
    told: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def part(self) -> Path:
        return self.path.with_name("a.zip.part")

    def archive(self, *, size: int | None = None, checksum: Checksum | None = None, name: str = "a.zip") -> Archive:
        return Archive(address=self.server.address(name), size=size, checksum=checksum)

    def fetch(self, archive: Archive, *, attempts: int = 1, silence: float = 10.0) -> str | None:
        return fetch(
            archive,
            self.path,
            progress=lambda *event: self.told.append(event),
            say=self.said.append,
            patience=Patience(attempts=attempts, wait_seconds=0.01, silence_seconds=silence),
        )


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    return Place(server, tmp_path / "a.zip")


class Published(NamedTuple):
    size: int | None
    checksum: Checksum | None
    verified: str | None
    length: bool = True


@pytest.mark.parametrize(
    "published",
    [
        Published(len(CONTENT), SHA256, "sha256"),
        Published(None, Checksum("md5", hashlib.md5(CONTENT).hexdigest()), "md5"),
        Published(None, Checksum("sha1", hashlib.sha1(CONTENT).hexdigest()), "sha1"),
        Published(len(CONTENT), None, "size"),
        Published(None, None, "size"),
        Published(None, None, None, length=False),
    ],
)
def test_a_file_arrives_and_what_is_known_of_it_is_verified(place: Place, published: Published) -> None:
    place.server.files["a.zip"] = Served(CONTENT, length=published.length)
    assert place.fetch(place.archive(size=published.size, checksum=published.checksum)) == published.verified
    assert place.path.read_bytes() == CONTENT
    assert list(place.path.parent.iterdir()) == [place.path]
    total = len(CONTENT) if published.length else 0
    assert place.told[-1] == ("a.zip", len(CONTENT), total)
    assert [done for _, done, _ in place.told] == sorted(done for _, done, _ in place.told)


def test_a_cut_connection_is_continued_and_only_the_rest_is_sent(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB, MIB // 2])
    assert place.fetch(place.archive(size=len(CONTENT), checksum=SHA256), attempts=2) == "sha256"
    assert place.path.read_bytes() == CONTENT
    first, second, third = place.server.asked
    assert (first.range, second.range) == (None, f"bytes={2 * MIB}-")
    assert third.range == f"bytes={2 * MIB + MIB // 2}-"
    assert first.sent + second.sent + third.sent == len(CONTENT)
    assert "a.zip: the connection was cut; 2.0 MiB are kept, next attempt in 0 s" in place.said


def test_a_later_call_goes_on_where_the_last_one_ended(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, etag=None, modified="Tue, 01 Sep 2026 10:00:00 GMT", cuts=[2 * MIB])
    archive = place.archive(checksum=SHA256)
    with pytest.raises(DownloadFailed, match=r"the connection was cut, 1 times in a row; 2\.0 MiB are kept"):
        place.fetch(archive)
    assert place.part.read_bytes() == CONTENT[: 2 * MIB]
    assert place.fetch(archive) == "sha256"
    assert place.path.read_bytes() == CONTENT
    assert [(asked.range, asked.sent) for asked in place.server.asked] == [
        (None, 2 * MIB),
        (f"bytes={2 * MIB}-", len(CONTENT) - 2 * MIB),
    ]
    assert ("checking the beginning of a.zip", 2 * MIB, 2 * MIB) in place.told


def test_a_part_that_is_whole_is_not_asked_for_again(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB])
    archive = place.archive(checksum=SHA256)
    with pytest.raises(DownloadFailed):
        place.fetch(archive)
    place.part.write_bytes(CONTENT)
    assert place.fetch(archive) == "sha256"
    assert len(place.server.asked) == 1


@pytest.mark.parametrize(
    "server_does",
    [
        {"ranges": False},
        {"etag": None},
        {"etag": 'W/"weak"'},
        {"wrong_range": True},
    ],
    ids=["no ranges", "no mark", "weak mark", "another range"],
)
def test_a_server_that_cannot_continue_sends_all_again(place: Place, server_does: dict[str, object]) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB], **server_does)
    assert place.fetch(place.archive(checksum=SHA256), attempts=3) == "sha256"
    assert place.path.read_bytes() == CONTENT
    assert place.server.asked[-1].sent == len(CONTENT)


def test_a_rest_without_total_is_taken(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB, 4096, 4096], unsaid_total=True)
    assert place.fetch(place.archive(), attempts=2) == "size"
    assert place.path.read_bytes() == CONTENT
    assert sum(asked.sent for asked in place.server.asked) == len(CONTENT)


@pytest.mark.parametrize(
    ("served", "requests"),
    [
        (Served(CONTENT, ranges=False, cuts=[MIB, 2 * MIB, MIB // 2, MIB, *[MIB // 2, MIB] * 20]), 5),
        (Served(CONTENT, refuses_rest=True, cuts=[2 * MIB] * 40), 4),
        (Served(CONTENT, wrong_range=True, cuts=[2 * MIB] * 40), 4),
    ],
    ids=["no ranges", "416", "another range"],
)
def test_a_server_that_lets_one_begin_anew_for_ever_is_given_up(place: Place, served: Served, requests: int) -> None:
    place.server.files["a.zip"] = served
    with pytest.raises(DownloadFailed, match="4 times in a row"):
        place.fetch(place.archive(), attempts=4)
    assert len(place.server.asked) == requests


@pytest.mark.parametrize(
    "served",
    [
        Served(CONTENT, refuses_rest=True),
        Served(CONTENT, wrong_range=True),
        Served(b'{"error": "come back later"}', etag=None),
        Served(CONTENT[:MIB], etag=None),
    ],
    ids=["416", "another range", "JSON", "another size"],
)
def test_what_has_come_stays_until_something_better_is_sent(place: Place, served: Served) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB])
    archive = place.archive(size=None if served.content[:1] == b"{" else len(CONTENT))
    with pytest.raises(DownloadFailed):
        place.fetch(archive)
    whole, place.server.files["a.zip"] = Served(CONTENT), served
    with pytest.raises(DownloadFailed):
        place.fetch(archive)
    assert place.part.read_bytes() == CONTENT[: 2 * MIB]
    place.server.files["a.zip"] = whole
    assert place.fetch(archive) == "size"
    assert place.server.asked[-1].sent == len(CONTENT) - 2 * MIB


def test_a_file_that_changed_in_between_is_not_glued_to_the_old_beginning(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB])
    with pytest.raises(DownloadFailed):
        place.fetch(place.archive())
    place.server.files["a.zip"] = Served(OTHER, etag='"second"')
    assert place.fetch(place.archive()) == "size"
    assert place.path.read_bytes() == OTHER
    assert place.server.asked[-1].range == f"bytes={2 * MIB}-"
    assert place.server.asked[-1].sent == len(OTHER)


def test_a_file_that_became_shorter_begins_anew(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, cuts=[2 * MIB])
    with pytest.raises(DownloadFailed):
        place.fetch(place.archive())
    place.server.files["a.zip"] = Served(CONTENT[:MIB])
    assert place.fetch(place.archive(), attempts=2) == "size"
    assert place.path.read_bytes() == CONTENT[:MIB]


def test_a_part_of_another_address_is_not_continued(place: Place) -> None:
    place.server.files |= {"a.zip": Served(CONTENT, cuts=[2 * MIB]), "mirror/a.zip": Served(OTHER)}
    with pytest.raises(DownloadFailed):
        place.fetch(place.archive())
    assert place.fetch(place.archive(name="mirror/a.zip")) == "size"
    assert place.path.read_bytes() == OTHER


def test_a_wrong_checksum_sets_the_file_aside_and_the_next_call_begins_anew(place: Place) -> None:
    place.server.files["a.zip"] = Served(OTHER)
    archive = place.archive(checksum=SHA256)
    with pytest.raises(DownloadFailed) as failed:
        place.fetch(archive)
    wrong = hashlib.sha256(OTHER).hexdigest()
    assert f"a.zip: sha256 is {wrong}, but {SHA256.digest} is published" in str(failed.value)
    aside = place.path.with_name("a.zip.wrong")
    assert str(aside) in str(failed.value)
    assert aside.read_bytes() == OTHER
    assert not place.path.exists()
    assert not place.part.exists()
    place.server.files["a.zip"] = Served(CONTENT)
    assert place.fetch(archive) == "sha256"
    assert place.server.asked[-1].range is None


def test_another_size_than_the_published_one_is_refused_before_it_is_sent(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT)
    with pytest.raises(DownloadFailed, match="the server has 3,145,745 bytes, but 1,000 are published"):
        place.fetch(place.archive(size=1000, checksum=SHA256))
    assert not place.part.exists()


def test_a_file_put_there_by_hand_is_verified_and_not_asked_for(place: Place) -> None:
    place.path.write_bytes(CONTENT)
    assert place.fetch(place.archive(checksum=SHA256)) == "sha256"
    place.path.write_bytes(OTHER)
    with pytest.raises(DownloadFailed, match="set aside"):
        place.fetch(place.archive(checksum=SHA256))
    assert place.server.asked == []


def test_a_redirect_is_followed_when_continuing_too(place: Place) -> None:
    place.server.files |= {
        "a.zip": Served(location=place.server.address("moved/a.zip")),
        "moved/a.zip": Served(CONTENT, cuts=[2 * MIB]),
    }
    assert place.fetch(place.archive(checksum=SHA256), attempts=2) == "sha256"
    assert [asked.path for asked in place.server.asked] == ["/a.zip", "/moved/a.zip"] * 2
    assert place.server.asked[-1].sent == len(CONTENT) - 2 * MIB


def test_redirects_without_end_are_one_line(place: Place) -> None:
    place.server.files["a.zip"] = Served(location=place.server.address("a.zip"))
    with pytest.raises(DownloadFailed, match="Exceeded 30 redirects"):
        place.fetch(place.archive())


@pytest.mark.parametrize("to", ["http://[bad", "http://a:b/", "http://127.0.0.1:99999/", "ftp://127.0.0.1/"])
def test_a_redirect_to_no_possible_address_is_one_line_and_final(place: Place, to: str) -> None:
    place.server.files["a.zip"] = Served(location=to)
    archive = place.archive()
    with pytest.raises(DownloadFailed) as failed:
        place.fetch(archive, attempts=3)
    assert str(failed.value).startswith(f"{archive.address}: ")
    assert "\n" not in str(failed.value)
    assert len(place.server.asked) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
def test_a_redirect_from_https_to_http_is_refused(
    place: Place, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    place.server.files["a.zip"] = Served(CONTENT)
    with serving(context) as safe:
        safe.files |= {
            "a.zip": Served(location=place.server.address("a.zip")),
            "moved.zip": Served(location="/there.zip"),
            "there.zip": Served(CONTENT),
        }
        address = safe.address("a.zip", scheme="https")
        with pytest.raises(DownloadFailed) as failed:
            place.fetch(Archive(address=address), attempts=3)
        assert str(failed.value).startswith(f"{address}: the server redirects to {place.server.address('a.zip')}, ")
        assert place.server.asked == []
        assert place.fetch(Archive(address=safe.address("moved.zip", scheme="https"))) == "size"


@pytest.mark.parametrize(
    ("name", "begins", "kind"),
    [
        ("a.zip", b"PK", "zip"),
        ("a.tgz", b"\x1f\x8b", "gzip"),
        ("a.tar.gz", b"\x1f\x8b", "gzip"),
        ("a.tar", bytes(257) + b"ustar", "tar"),
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_something_else_than_an_archive_is_seen_at_once(
    place: Place, name: str, begins: bytes, kind: str, length: bool
) -> None:
    archive = place.archive(name=name)
    place.server.files[name] = Served(b'{"error": "over quota"}\n' * 200_000, length=length)
    with pytest.raises(DownloadFailed) as failed:
        place.fetch(archive, attempts=3)
    assert f"{archive.address}: answered with something that is no {kind} file" in str(failed.value)
    assert "over quota" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert len(place.server.asked) == 1
    assert list(place.path.parent.iterdir()) == []
    place.server.files[name] = Served(begins + OTHER, length=length)
    place.fetch(archive)
    assert place.path.read_bytes() == begins + OTHER


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "Text/HTML", "application/xhtml+xml"])
def test_a_web_page_is_not_taken_for_the_file(place: Place, kind: str) -> None:
    place.server.files |= {
        "a.zip": Served(location=place.server.address("login")),
        "login": Served(b"<html>sign in</html>", kind=kind),
    }
    with pytest.raises(DownloadFailed) as failed:
        place.fetch(place.archive(), attempts=3)
    message = str(failed.value)
    assert f"(now {place.server.address('login')}): answered with a web page" in message
    assert f"put it to {place.path}" in message
    assert len(place.server.asked) == 2  # it is not asked for again
    assert list(place.path.parent.iterdir()) == []


@pytest.mark.parametrize(("status", "words"), [(403, "does not give it"), (401, "does not give it"), (410, "moved")])
def test_a_refusal_is_one_line_and_final(place: Place, status: int, words: str) -> None:
    place.server.files["a.zip"] = Served(CONTENT, statuses=[status])
    with pytest.raises(DownloadFailed, match=rf"a\.zip: answered {status} .*{words}"):
        place.fetch(place.archive(), attempts=3)
    assert len(place.server.asked) == 1


def test_a_file_that_is_not_there_is_one_line_and_final(place: Place) -> None:
    with pytest.raises(DownloadFailed, match=r"a\.zip: answered 404 Not Found; the file may have moved"):
        place.fetch(place.archive(), attempts=3)
    assert len(place.server.asked) == 1


def test_a_server_that_is_busy_is_asked_again(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, statuses=[503, 429, 500])
    assert place.fetch(place.archive(checksum=SHA256), attempts=4) == "sha256"
    assert place.said[0].startswith("a.zip: the server answered 503 Service Unavailable; 0 bytes are kept")


def test_a_server_that_says_nothing_is_given_up(place: Place) -> None:
    place.server.files["a.zip"] = Served(CONTENT, silent_seconds=1.0)
    with pytest.raises(DownloadFailed, match=r"no answer within 0\.1 s, 2 times in a row"):
        place.fetch(place.archive(), attempts=2, silence=0.1)


def test_a_server_that_lets_nobody_in_is_told_with_the_seconds_of_connecting(place: Place) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # and nothing is accepted: further connections wait
        for _ in range(2):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        archive = Archive(address=f"http://127.0.0.1:{full.getsockname()[1]}/a.zip")
        patience = Patience(connect_seconds=0.2, silence_seconds=5.0, attempts=1)
        with pytest.raises(DownloadFailed, match=r"a\.zip: no connection within 0\.2 s, 1 times in a row"):
            fetch(archive, place.path, progress=lambda *event: None, say=print, patience=patience)


def test_no_server_at_all_is_one_line(place: Place) -> None:
    archive = place.archive()
    place.server.shutdown()
    place.server.server_close()
    with pytest.raises(DownloadFailed, match=r"no connection \(.*Connection refused\), 2 times in a row"):
        place.fetch(archive, attempts=2)


def test_bytes_are_taken_as_they_lie_on_the_server(place: Place) -> None:
    """Some servers declare a .tgz to be a gzipped tar; unpacked on the way its checksum would be another."""
    place.server.files["a.zip"] = Served(CONTENT, encoding="x-gzip")
    assert place.fetch(place.archive(checksum=SHA256)) == "sha256"


def test_too_little_room_is_told_before_the_file_is_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.server.files["a.zip"] = Served(CONTENT)
    usage = shutil.disk_usage(place.path.parent)._replace(free=2 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"the rest of a\.zip takes 3\.0 MiB at least, and 2\.0 MiB are free"):
        place.fetch(place.archive())


def test_a_disk_that_fills_up_meanwhile_is_one_line(place: Place) -> None:
    """/dev/full refuses every byte as a full disk does."""
    place.server.files["a.zip"] = Served(CONTENT)
    place.part.symlink_to("/dev/full")
    with pytest.raises(
        DownloadFailed, match=r"a\.zip\.part: the disk is full, .* are free; what has come of it is kept"
    ):
        place.fetch(place.archive())
    place.part.unlink()
    assert place.fetch(place.archive()) == "size"

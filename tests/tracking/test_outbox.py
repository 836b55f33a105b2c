from __future__ import annotations

import resource
import threading
import tracemalloc
from pathlib import Path

import pytest

from essnet.tracking import outbox
from essnet.tracking.entries import Entry, metrics_entry
from essnet.tracking.outbox import Outbox, OutboxReader, waiting_files


def entry(number: int) -> Entry:
    return metrics_entry(number, {"train/loss": float(number)})


def steps(entries: list[Entry]) -> list[int]:
    return [one["step"] for one in entries]


def drain(folder: Path) -> list[int]:
    reader, found = OutboxReader(folder), []
    while entries := reader.read():
        found += steps(entries)
        reader.delivered()
    reader.remove_last()
    return found


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_FILE_BYTES", 200)


def test_what_was_not_delivered_is_read_again(tmp_path: Path) -> None:
    writer, reader = Outbox(tmp_path), OutboxReader(tmp_path)
    assert reader.read() == []
    writer.append(entry(1))
    assert steps(reader.read()) == [1]
    writer.append(entry(2))
    assert steps(reader.read()) == [1, 2]
    reader.delivered()
    assert reader.read() == []
    writer.append(entry(3))
    assert steps(reader.read()) == [3]
    assert drain(tmp_path) == [1, 2, 3], "another reader knows nothing of what this one delivered"
    assert waiting_files(tmp_path) == []


@pytest.mark.usefixtures("small_files")
def test_files_go_once_they_are_delivered(tmp_path: Path) -> None:
    writer, reader = Outbox(tmp_path), OutboxReader(tmp_path)
    found: list[int] = []
    for number in range(50):
        writer.append(entry(number))
        found += steps(reader.read())
        reader.delivered()
        assert len(waiting_files(tmp_path)) <= 2
    assert found == list(range(50))


@pytest.mark.usefixtures("small_files")
def test_each_process_begins_files_of_its_own(tmp_path: Path) -> None:
    for first in (0, 10, 20):
        writer = Outbox(tmp_path)
        for number in range(first, first + 10):
            writer.append(entry(number))
        writer.close()
    assert drain(tmp_path) == list(range(30))


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    for length in range(1, 60):
        folder = tmp_path / str(length)
        writer = Outbox(folder)
        writer.append(entry(1))
        writer.append(entry(2))
        writer.close()
        (path,) = waiting_files(folder)
        content = path.read_bytes()
        path.write_bytes(content[:-length])
        again = Outbox(folder)
        again.append(entry(3))
        assert drain(folder) == ([1, 3] if length < len(content) // 2 else [3]), length


def test_damaged_lines_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = Outbox(tmp_path)
    writer.append(entry(1))
    writer.close()
    (path,) = waiting_files(tmp_path)
    with path.open("ab") as file:
        file.write(b"\0\0\0\n[1]\n{\n\xff\n")
    writer.append(entry(2))
    assert drain(tmp_path) == [1, 2]
    assert len(caplog.records) == 4


def test_threads_append_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_FILE_BYTES", 2000)
    writer = Outbox(tmp_path)
    threads = [
        threading.Thread(target=lambda first=first: [writer.append(entry(first + step)) for step in range(200)])
        for first in (0, 1000, 2000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = drain(tmp_path)
    assert sorted(found) == [first + step for first in (0, 1000, 2000) for step in range(200)]
    for first in (0, 1000, 2000):
        assert [step for step in found if first <= step < first + 200] == list(range(first, first + 200))


def test_what_waits_takes_no_memory(tmp_path: Path) -> None:
    writer = Outbox(tmp_path)
    metrics = {f"metric {index}": float(index) for index in range(20)}
    writer.append(metrics_entry(0, metrics))
    tracemalloc.start()
    try:
        for step in range(1, 10_000):
            writer.append(metrics_entry(step, metrics))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    writer.close()
    on_disk = sum(path.stat().st_size for path in waiting_files(tmp_path))
    assert peak < on_disk / 20
    reader = OutboxReader(tmp_path)
    assert 0 < len(reader.read()) < 2000, "a reader holds one file of many"


def test_a_full_disk_says_so_and_the_lines_before_stay(tmp_path: Path) -> None:
    writer = Outbox(tmp_path)
    writer.append(entry(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (waiting_files(tmp_path)[0].stat().st_size + 10, hard))
    try:
        with pytest.raises(OSError, match=r"could be written|File too large"):
            writer.append(entry(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.append(entry(3))
    assert drain(tmp_path) == [1, 3]

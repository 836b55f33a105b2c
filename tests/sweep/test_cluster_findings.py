from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from essnet.config import InputError
from essnet.file_lock import hold
from essnet.sweep.cluster import ClusterNode
from essnet.sweep.node_facts import (
    ABSENT,
    BROKEN,
    NOT_LOCKED,
    look_around,
    unreadable,
    versions,
    visit,
    visit_storage,
)
from essnet.sweep.node_findings import Expected, judge
from essnet.sweep.shared_output import probe_folder
from essnet.sweep.shared_storage import probe_storage, problem_with_storage

GIB = 2**30
VERSIONS = {"essnet": "0.1.0+abc", "torch": "2.14.1", "ray": "2.60.0", "mlflow": "3.17.2"}
WELL: dict[str, Any] = {
    "versions": VERSIONS,
    "output": None,
    "data": {"/data": None},
    "tracking": None,
    "disk": {"/runs": 50 * GIB, "/tmp": 6 * GIB},
    "memory": 8 * GIB,
    "gpus": 2,
}


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    (tmp_path / "a").touch()  # as the node left it
    node = ClusterNode("a", "10.0.0.1", cpus=16, gpus=2)
    return Expected(node, versions=VERSIONS, output=Path("/runs"), probe=tmp_path)


def test_all_well(expected: Expected) -> None:
    findings = judge(WELL, expected)
    assert [finding.name for finding in findings] == list(WELL)
    assert all(finding.ok for finding in findings)


def test_what_was_not_asked_is_not_said(expected: Expected) -> None:
    facts = {name: fact for name, fact in WELL.items() if name not in ("data", "tracking")}
    assert [finding.name for finding in judge(facts, expected)] == list(facts)


@pytest.mark.parametrize(
    ("name", "fact", "text"),
    [
        ("versions", {**VERSIONS, "torch": "2.13.0"}, "torch 2.13.0 there and 2.14.1 here; install the same"),
        ("versions", {**VERSIONS, "essnet": "0.1.0+def"}, "essnet 0.1.0+def there and 0.1.0+abc here"),
        ("versions", {**VERSIONS, "mlflow": "none"}, "mlflow none there and 3.17.2 here"),
        ("output", ABSENT, "/runs is another folder there, or none"),
        ("output", NOT_LOCKED, "its locks are not"),
        ("output", "Permission denied", "/runs cannot be written there (Permission denied)"),
        ("data", {"/data": None, "/more": "is empty"}, "/more: is empty; put it there, or mount it"),
        ("tracking", "refused", "does not answer there (refused)"),
        ("disk", {"/runs": 4.9 * GIB, "/tmp": 6 * GIB}, "4.9 GiB free at /runs, 6.0 GiB free at /tmp; make room"),
        ("disk", {"/runs": 50 * GIB, "/tmp": 4.9 * GIB}, "make room"),
        ("memory", 3.9 * GIB, "3.9 GiB free, 16 CPU cores that Ray counts; a trial wants 4 GiB"),
        ("gpus", 1, "1 that torch sees, 2 that Ray counts; mend"),
        ("gpus", 4, "4 that torch sees, 2 that Ray counts; start Ray there with --num-gpus 4"),
        ("gpus", {BROKEN: "ImportError: no torch"}, "cannot be found out there: ImportError: no torch"),
    ],
)
def test_one_thing_is_not_well(name: str, fact: object, text: str, expected: Expected) -> None:
    findings = judge({**WELL, name: fact}, expected)
    bad = [finding for finding in findings if not finding.ok]
    assert [finding.name for finding in bad] == [name]
    assert text in bad[0].text


def test_a_node_that_left_no_file_has_another_folder(expected: Expected) -> None:
    (expected.probe / "a").unlink()
    (bad,) = [finding for finding in judge(WELL, expected) if not finding.ok]
    assert bad.text.startswith("/runs is another folder there, or none")


def test_nothing_of_a_probe_is_left(tmp_path: Path) -> None:
    output = tmp_path / "a" / "runs"
    with probe_folder(output) as probe:
        assert probe.parent == output
        assert visit(probe=str(probe), node_id="node") is None
        assert (probe / "node").exists()
    assert list(tmp_path.iterdir()) == []
    output.mkdir(parents=True)
    (output / "mlflow.db").touch()
    with probe_folder(output):
        pass
    assert [path.name for path in output.iterdir()] == ["mlflow.db"]


def test_an_output_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^--output: .*/file/runs.*: Not a directory; choose another folder"):
        with probe_folder(tmp_path / "file" / "runs"):
            pass


def test_a_probe_that_is_not_the_drivers(tmp_path: Path) -> None:
    assert visit(probe=str(tmp_path / "none"), node_id="node") == ABSENT
    (tmp_path / "driver").touch()
    assert visit(probe=str(tmp_path), node_id="node") == NOT_LOCKED
    assert not (tmp_path / "node").exists()
    with hold(tmp_path / "lock"):
        assert visit(probe=str(tmp_path), node_id="no/folder") == "No such file or directory"


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    assert unreadable(tmp_path / "none") == "No such file or directory"
    assert unreadable(tmp_path) == "is empty"
    (tmp_path / "file").touch()
    assert unreadable(tmp_path) is None
    assert unreadable(tmp_path / "file") is None


def test_what_is_found_here(tmp_path: Path) -> None:
    with probe_folder(tmp_path) as probe:
        facts = look_around(probe=str(probe), node_id="a", paths=[str(tmp_path)], tracking_uri=None)
    assert set(facts) == set(WELL) - {"tracking"}
    assert json.loads(json.dumps(facts)) == facts  # plain values
    assert facts["output"] is None
    assert facts["data"] == {str(tmp_path): None}
    assert set(facts["disk"]) == {str(tmp_path), tempfile.gettempdir()}
    assert 0 < facts["memory"] < 2**50
    assert facts["versions"] == versions()
    assert all(version not in ("", "none") for version in versions().values())


def test_one_fact_that_cannot_be_found_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> int:
        raise ImportError("libcudart.so")

    monkeypatch.setattr("essnet.sweep.node_facts._seen_gpus", broken)
    facts = look_around(probe=str(tmp_path), node_id="a", paths=[], tracking_uri=None)
    assert facts["gpus"] == {BROKEN: "ImportError: libcudart.so"}
    assert facts["versions"] == versions()


def test_a_storage_stands_in_for_a_shared_output(tmp_path: Path) -> None:
    address = str(tmp_path / "storage")
    node = ClusterNode("a", "10.0.0.1", cpus=16, gpus=2)
    with probe_folder(tmp_path) as probe, probe_storage(address) as key:
        facts = look_around(
            probe=str(probe), node_id="a", paths=[str(tmp_path)], tracking_uri=None, storage=(address, key)
        )
        expected = Expected(node, versions=versions(), output=tmp_path, probe=probe, storage=(address, key))
        found = {finding.name: finding for finding in judge(facts, expected)}
        assert "output" not in found
        assert (found["storage"].ok, found["storage"].text) == (True, f"{address} can be read and written there")
        # What another folder of the same name, on another machine, would say.
        elsewhere = visit_storage(storage=(str(tmp_path / "elsewhere"), key), node_id="b")
        assert elsewhere == ABSENT
        problem = problem_with_storage(elsewhere, address=address, key=key, node_id="b")
        assert problem is not None
        assert problem.startswith(f"{address} is another place there, or none")
        assert problem_with_storage(None, address=address, key=key, node_id="b") == problem
        refused = problem_with_storage("ACCESS_DENIED", address=address, key=key, node_id="b")
        assert refused is not None
        assert refused.startswith("cannot be reached there (ACCESS_DENIED); start Ray there with the same keys")
    assert list((tmp_path / "storage").iterdir()) == []


def test_a_storage_that_cannot_be_probed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"^storage: .*/file: .*; mend it, or give another storage=\.\.\.$"),
        probe_storage(str(tmp_path / "file")),
    ):
        pass

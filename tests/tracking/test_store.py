from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from essnet import __version__
from essnet.config import InputError
from essnet.tracking import RunStore, default_uri
from tests.tracking.conftest import Place

IDENTITY = {"essnet.kind": "train", "essnet.directory": "/runs/a"}


def start(store: RunStore, **changes: str) -> str:
    return store.find_or_make("a run", identity={**IDENTITY, **changes}, tags={"essnet.arm": "knn"}, params={"seed": 0})


def runs_of(store: RunStore) -> int:
    return len(store.client.search_runs([store.experiment_id]))


def test_a_run_is_found_again_by_its_identity(store: RunStore, place: Place) -> None:
    run_id = start(store)
    store.client.set_terminated(run_id, "KILLED")
    again = place.store(store.experiment)
    assert again.experiment_id == store.experiment_id
    assert start(again) == run_id
    run = again.client.get_run(run_id)
    assert run.info.status == "KILLED", "being found changes nothing"
    assert run.info.run_name == "a run"
    assert run.data.tags["essnet.version"] == __version__
    assert run.data.tags["essnet.arm"] == "knn"
    assert start(again, **{"essnet.directory": "/runs/b"}) != run_id
    assert runs_of(store) == 2


@pytest.mark.parametrize("path", ["/home/o'brien/my runs", '/the "best" runs', "/100%/a_b\\c", "/größe/`x`"])
def test_identities_hold_any_path(store: RunStore, path: str) -> None:
    run_id = start(store, **{"essnet.directory": path})
    assert start(store, **{"essnet.directory": path}) == run_id
    assert start(store, **{"essnet.directory": f"{path}x"}) != run_id


def test_many_params_and_long_values(store: RunStore) -> None:
    params: dict[str, object] = {f"block.key_{index}": index for index in range(250)}
    params |= {"none": None, "empty": "", "list": [0.5, 2.0], "long": "x" * 20_000}
    run_id = store.find_or_make("a run", identity=IDENTITY, tags={}, params=params)
    found = store.client.get_run(run_id).data.params
    assert found.keys() == params.keys()
    assert found["block.key_249"] == "249"
    assert (found["none"], found["empty"], found["list"]) == ("None", "", "[0.5, 2.0]")
    assert found["long"] == "x" * len(found["long"])
    assert len(found["long"]) >= 6000


def test_params_that_a_crash_left_out_follow_and_others_stay(store: RunStore) -> None:
    run_id = store.find_or_make("a run", identity=IDENTITY, tags={}, params={"seed": 0})
    store.find_or_make("a run", identity=IDENTITY, tags={}, params={"seed": 1, "lr": 0.1})
    assert store.client.get_run(run_id).data.params == {"seed": "0", "lr": "0.1"}


def test_children_of_a_parent(store: RunStore) -> None:
    parent, other = (start(store, **{"essnet.directory": name}) for name in ("parent", "other"))
    children = {start(store, **{"essnet.directory": name, "mlflow.parentRunId": parent}) for name in "abc"}
    start(store, **{"essnet.directory": "d", "mlflow.parentRunId": other})
    assert {run.info.run_id for run in store.children(parent)} == children
    assert len(store.children(other)) == 1
    assert store.children(start(store, **{"essnet.directory": "alone"})) == []


def test_more_children_than_a_page(database: Place, experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = database.store(experiment)
    for index in range(5):
        start(store, **{"essnet.directory": str(index), "mlflow.parentRunId": "p"})
    search = store.client.search_runs
    monkeypatch.setattr(store.client, "search_runs", lambda *args, **options: search(*args, max_results=2, **options))
    assert len({run.info.run_id for run in store.children("p")}) == 5


def test_the_last_step_of_each_metric(store: RunStore) -> None:
    run_id = start(store)
    assert store.last_steps(run_id) == {}
    for key, step, value in (("a", 3, 0.5), ("a", 7, 0.25), ("a", 5, 1.0), ("b", 0, float("nan"))):
        store.client.log_metric(run_id, key, value, step=step)
    assert store.last_steps(run_id) == {"a": 7, "b": 0}


def test_a_store_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "runs"
    store = RunStore(default_uri(folder), "essnet", artifact_root=folder / "mlartifacts")
    assert (folder / "mlflow.db").exists()
    start(store)


def assert_refused(uri: str, folder: Path, *, reason: str = " ") -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=reason) as caught:
        RunStore(uri, "essnet", artifact_root=folder)
    assert str(caught.value).startswith(f"tracking.uri: {uri} does not answer as an MLflow store (")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 15


def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all, but long enough to be one" * 50)
    assert_refused(f"sqlite:///{tmp_path / 'notes.txt'}", tmp_path, reason="file is not a database")
    assert_refused(f"sqlite:///{tmp_path}", tmp_path, reason="unable to open database file")
    assert_refused(f"sqlite:///{tmp_path / 'notes.txt' / 'mlflow.db'}", tmp_path, reason="notes.txt")


def test_another_programs_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    connection.execute("INSERT INTO alembic_version VALUES ('of the future')")
    connection.commit()
    connection.close()
    assert_refused(f"sqlite:///{path}", tmp_path, reason="of the future")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "postgresql://127.0.0.1:9/x", "/some/folder"])
def test_addresses_where_no_store_is(uri: str, tmp_path: Path) -> None:
    assert_refused(uri, tmp_path)


def test_a_deleted_experiment(database: Place, experiment: str) -> None:
    store = database.store(experiment)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(InputError, match=rf"^tracking\.experiment: '{experiment}' was deleted .* restore"):
        database.store(experiment)


@pytest.mark.parametrize("name", ["a%20b", "what?"])
def test_output_folders_that_an_address_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--output: .* choose another folder"):
        default_uri(tmp_path / name)


def test_a_run_whose_id_is_known_is_not_looked_for(store: RunStore, database: Place) -> None:
    known = store.find_or_make("a run", identity=IDENTITY, tags={}, params={})
    other = {**IDENTITY, "essnet.directory": "/somewhere else"}
    assert store.find_or_make("a run", identity=other, tags={}, params={"lr": 1}, known_run_id=known) == known
    assert store.client.get_run(known).data.params == {"lr": "1"}
    for gone in ("0" * 32, database.store("another").client.create_run("0").info.run_id):
        assert store.find_or_make("a run", identity=IDENTITY, tags={}, params={}, known_run_id=gone) == known
    store.remove(known)
    assert store.find_or_make("a run", identity=IDENTITY, tags={}, params={}, known_run_id=known) != known


@pytest.mark.slow
@pytest.mark.parametrize("name", ["100%", "a b", "h#h"])
def test_output_folders_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    store = RunStore(default_uri(folder), "essnet", artifact_root=folder / "mlartifacts")
    run_id = start(store)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"x")
    store.client.log_artifact(run_id, str(picture), "predictions")
    assert (folder / "mlflow.db").stat().st_size > 0
    assert [path.name for path in folder.rglob("picture.png")] == ["picture.png"]
    assert {path.name for path in tmp_path.iterdir()} == {name, "picture.png"}


@pytest.mark.parametrize("experiment", ["../../up", "..", "a/b", "/etc", "50% off"])
def test_artifacts_of_an_experiment_of_any_name_stay_in_their_folder(database: Place, experiment: str) -> None:
    store = database.store(experiment)
    run_id = start(store)
    picture = database.folder / "picture.png"
    picture.write_bytes(b"x")
    store.client.log_artifact(run_id, str(picture), "predictions")
    root = database.folder / "mlartifacts"
    (kept,) = [path for path in root.rglob("picture.png") if run_id in path.parts]
    assert kept.resolve().is_relative_to(root.resolve())
    assert [file.path for file in store.client.list_artifacts(run_id, "predictions")] == ["predictions/picture.png"]


@pytest.mark.slow
def test_several_processes_open_a_new_store_at_once(tmp_path: Path) -> None:
    """MLflow's migration of a fresh database breaks it where two do so at a time."""
    opening = (
        "import sys; from pathlib import Path; from essnet.tracking import RunStore; "
        "print(RunStore(sys.argv[1], 'study', artifact_root=Path(sys.argv[2])).experiment_id)"
    )
    command = [sys.executable, "-c", opening, default_uri(tmp_path), str(tmp_path / "artifacts")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [process.communicate(timeout=300)[0].strip() for process in processes]
    assert found == [found[0]] * 3
    assert found[0]

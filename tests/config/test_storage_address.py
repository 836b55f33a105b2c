from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import InputError, load_sweep
from tests.sweep.sweeps import write_sweep


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/some/where/", "s3://bucket/some/where"),
        ("/mnt/shared", "/mnt/shared"),
        ("null", None),
    ],
)
def test_where_a_sweep_may_be_kept(tmp_path: Path, address: str, kept: str | None) -> None:
    assert load_sweep(write_sweep(tmp_path), [f"storage={address}"]).config.storage == kept


def test_a_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_sweep(write_sweep(tmp_path, storage="kept")).config.storage == str(tmp_path / "kept")


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///prefix", "s3://key:secret@bucket", "s3://bucket?endpoint_override=x", "gs://bucket", "''", "3"],
)
def test_what_is_no_storage(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match=r"^storage: ") as refused:
        load_sweep(write_sweep(tmp_path), [f"storage={address}"])
    assert len(str(refused.value).splitlines()) == 1
    assert "secret" not in str(refused.value)

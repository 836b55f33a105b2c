from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import InputError, load_trial
from tests.cli.workplace import TRIAL

ENVIRONMENT = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


def refusal(folder: Path, *arguments: str, tracking: str = "") -> str:
    path = folder / "t.yaml"
    path.write_text(TRIAL + tracking)
    with pytest.raises(InputError) as caught:
        load_trial(path, arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text
    return text


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@host:5000",
        "https://secret@host",
        "https://:secret@host/mlflow",
        "https://me:sec/secret#?@host",
        "http://me:secret@[::1]:5000",
    ],
)
def test_a_server_whose_address_names_a_user_or_password(tmp_path: Path, address: str) -> None:
    scheme = address.partition("://")[0]
    for text in (
        refusal(tmp_path, f"tracking.uri={address}"),
        refusal(tmp_path, tracking=f'tracking: {{uri: "{address}"}}\n'),
    ):
        assert "tracking.uri: a user name, password or token stands in it" in text
        assert f"{scheme}://HOST:PORT" in text
        assert ENVIRONMENT in text


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@host/runs",
        "postgresql+psycopg2://me:sec/secret@host/runs",
        "postgresql://me@host/runs?sslmode=require&password=secret",
        "mysql+pymysql://me:secret@host/runs",
    ],
)
def test_a_database_whose_address_has_a_password(tmp_path: Path, address: str) -> None:
    assert "tracking.uri: a password stands in it" in refusal(tmp_path, f"tracking.uri={address}")


@pytest.mark.parametrize(
    "value", ["http://me:secret@host", f"http://me:{'secret' * 40}@host", "[http://me:secret@host]"]
)
def test_an_address_where_a_block_belongs_is_not_repeated(tmp_path: Path, value: str) -> None:
    assert "expected a block" in refusal(tmp_path, tracking=f"tracking: {value}\n")


@pytest.mark.parametrize(
    "address",
    [
        "http://host:5000",
        "https://host/mlflow",
        "http://[::1]:5000",
        "postgresql://me@host/runs",
        "postgresql://host:5432/runs?host=/run/postgresql",
        "sqlite:////runs/a@b:c/mlflow.db",
        "nonsense",
    ],
)
def test_addresses_without_secrets_stay_as_they_are(tmp_path: Path, address: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(TRIAL)
    assert load_trial(path, [f"tracking.uri={address}"]).tracking.uri == address

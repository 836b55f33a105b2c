"""MLflow's server as a team would have it: passwords or tokens, and TLS by an authority that only the team trusts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.tracking.server import Server

USERNAME = "unlikely-user-48151"
PASSWORD = "unlikely-password-62342"
TOKEN = "unlikely-token-16180"
SECRETS = (USERNAME, PASSWORD, TOKEN)


@dataclass(frozen=True)
class Certificates:
    """Files of a private authority, and of a server that it vouches for under the names given."""

    authority: Path
    certificate: Path
    key: Path

    def options(self) -> tuple[str, str]:
        """Options of `mlflow server` that make it speak TLS."""
        return "--uvicorn-opts", f"--ssl-certfile {self.certificate} --ssl-keyfile {self.key}"


def make_certificates(folder: Path, *names: str) -> Certificates:
    authority = trustme.CA()
    server = authority.issue_cert(*names)
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(str(made.authority))
    server.private_key_pem.write_to_path(str(made.key))
    server.cert_chain_pems[0].write_to_path(str(made.certificate))
    return made


def credentials(certificates: Certificates) -> dict[str, str]:
    """The environment in which one gets in with a password."""
    return {
        "MLFLOW_TRACKING_USERNAME": USERNAME,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificates.authority),
    }


@contextmanager
def secured_server(folder: Path, certificates: Certificates) -> Iterator[Server]:
    """A server that asks for `USERNAME` and `PASSWORD`, or for `TOKEN`, over TLS."""
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = MANAGE\n"
        f"database_uri = sqlite:///{folder / 'users.db'}\n"
        "authorization_function = tests.tracking.token_authorization:authenticate\n"
    )
    server = Server(
        folder,
        options=("--app-name", "basic-auth", *certificates.options()),
        environment={
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_USERNAME": USERNAME,
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test alone",
            "ESSNET_TEST_TOKEN": TOKEN,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        },
        authority=certificates.authority,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()

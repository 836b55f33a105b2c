"""Addresses of tracking stores: secrets stand in the environment, never in them."""

from __future__ import annotations

import re

_PASSWORD_OF_DATABASE = re.compile(r"[?&]password=", re.IGNORECASE)
_SECRET = re.compile(r"(?<=://)[^\s'\"]*@")


def check_address(uri: str) -> str:
    """Return an address as it is.

    Raises
    ------
    ValueError
        If a user name or a password stands in it; neither is repeated. A database's address may name its user.
    """
    scheme, separator, rest = uri.partition("://")
    user = rest.rpartition("@")[0] if separator else ""
    if scheme.startswith("http") and user:
        raise ValueError(
            "a user name, password or token stands in it, and addresses are written to files and logs; write "
            f"{scheme}://HOST:PORT, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, in the environment"
        )
    if not scheme.startswith("sqlite") and (":" in user or _PASSWORD_OF_DATABASE.search(rest)):
        raise ValueError(
            "a password stands in it, and addresses are written to files and logs; write "
            f"{scheme}://USER@HOST/DATABASE, and have the password in the file ~/.pgpass, or in PGPASSWORD in the "
            "environment"
        )
    return uri


def without_secrets(text: str) -> str:
    """Return a text with what stands before the `@` of each address in it replaced by `***`."""
    return _SECRET.sub("***@", text)

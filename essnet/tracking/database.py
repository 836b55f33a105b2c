"""Databases of a server's kind, written to without MLflow's server between."""

from __future__ import annotations

import sqlalchemy

_PATIENCE = {"connect_timeout": 10}
_DIALECTS = {"postgresql": _PATIENCE, "mysql": _PATIENCE, "mssql": {}}


def connect_once(uri: str) -> None:
    """Connect to the database at `uri`, if it is one: MLflow would try again for two minutes.

    Raises
    ------
    Exception
        Whatever the database's driver raises if it is not there or does not let us in.
    """
    scheme = uri.partition("://")[0]
    dialect = scheme.partition("+")[0]
    if dialect not in _DIALECTS:
        return
    engine = sqlalchemy.create_engine(uri, connect_args=_DIALECTS[dialect])
    try:
        engine.connect().close()
    finally:
        engine.dispose()

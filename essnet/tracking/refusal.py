"""What a store that does not let us in wants, in words that say what to do."""

from __future__ import annotations

import os
import re
from pathlib import Path

import mlflow

_LONGEST = 200
_HOW = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_FURTHER = (
    # what stands in the error, for addresses that begin so, what is said
    ("invalid host header", "http", "it does not know itself by this name; start it with --allowed-hosts"),
    ("mismatch, certificate is not valid for", "https", "its certificate is for another name than that in the address"),
    ("certificate has expired", "https", "its certificate has expired"),
    (
        "certificate_verify_failed",
        "https",
        "its certificate is from an authority that is not trusted here; set MLFLOW_TRACKING_SERVER_CERT_PATH to the "
        "file of that authority's certificate",
    ),
    (
        "suitable tls ca certificate bundle",
        "https",
        "MLFLOW_TRACKING_SERVER_CERT_PATH, or REQUESTS_CA_BUNDLE, names a file that is not there",
    ),
    ("wrong_version_number", "https", "it does not speak TLS there; the address may begin with http:// instead"),
    ("connection aborted", "http:", "it closes the connection; the address may have to begin with https://"),
)


def why_refused(uri: str, error: Exception) -> str:
    """Return why the store at `uri` did not do what was asked, in a line without any secret."""
    text = " ".join(str(error).split())
    if "error code 401" in text:
        return _unauthenticated()
    if revision := re.search(r"out-of-date database schema \(found version (\w+)", text):
        return _tables_of_another_mlflow(uri, revision[1])
    for found, scheme, reason in _FURTHER:
        if found in text.lower() and uri.startswith(scheme):
            return reason
    return text[:_LONGEST]


def _tables_of_another_mlflow(uri: str, revision: str) -> str:
    steps = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(steps.glob(f"{revision}_*.py")):
        return f"its tables are of an older MLflow; keep a copy of it, then run `mlflow db upgrade '{uri}'`"
    return f"its tables are of a newer MLflow than {mlflow.__version__}, which is here; install one as new as that"


def _unauthenticated() -> str:
    given = [name for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD") if os.environ.get(name)]
    if len(given) < 2:  # MLflow takes the token only without these two
        given = ["MLFLOW_TRACKING_TOKEN"] if os.environ.get("MLFLOW_TRACKING_TOKEN") else []
    if given:
        return f"it does not accept what is in {' and '.join(given)}"
    return f"it wants to know who asks; set {_HOW} in the environment"

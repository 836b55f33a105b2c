"""Whether a store answers, without making or changing anything in it."""

from __future__ import annotations

from mlflow import MlflowClient  # the package's own settings of mlflow are made by then

from essnet.tracking.refusal import why_refused


def unreachable(uri: str) -> str | None:
    """Return why the store at `uri` does not answer here, or None if it does."""
    try:
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:  # whatever MLflow and the drivers of databases raise
        return why_refused(uri, error)
    return None

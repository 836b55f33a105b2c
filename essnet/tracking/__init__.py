"""MLflow: the store, its runs, and the tracker that a trial logs to."""

from essnet.tracking.store import RunStore, default_uri
from essnet.tracking.tracker import MlflowTracker

__all__ = ["MlflowTracker", "RunStore", "default_uri"]

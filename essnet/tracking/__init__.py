"""MLflow: the store, its runs, and the tracker that a trial logs to."""

from essnet.tracking.delivery import deliver_rest, is_delivered
from essnet.tracking.run_spec import RunSpec
from essnet.tracking.store import RunStore, default_uri
from essnet.tracking.tracker import MlflowTracker

__all__ = ["MlflowTracker", "RunSpec", "RunStore", "default_uri", "deliver_rest", "is_delivered"]

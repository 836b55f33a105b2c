"""Ending a sweep whose Ray is gone: Ray Tune would wait for its workers for ever."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.tune import Callback

_LOOK_SECONDS = 5.0


class RayLost(Exception):
    """The Ray on which a sweep runs has no machine left."""


class RayWatch(Callback):
    """Looks every few seconds whether a machine of Ray is alive; for a Ray that the sweep itself has started.

    Raises
    ------
    RayLost
        If none is.
    """

    def __init__(self) -> None:
        self._looked = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look, if it is time."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if not any(node["Alive"] for node in ray.nodes()):
            raise RayLost("Ray's own process on this machine, raylet, is gone; go on with --resume")

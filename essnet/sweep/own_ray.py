"""A Ray for one sweep on this machine: listens on loopback, takes the sweep's token only, ends with this process."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled, and not in its stub

from essnet.sweep.resources import Placement

_END_RAY_AGENTS = Path(__file__).with_name("end_ray_agents.py")


@contextmanager
def own_ray(placement: Placement) -> Iterator[None]:
    """Run Ray on this machine, with the cores and GPUs of `placement`."""
    with ExitStack() as stack:
        with _ctrl_c_waits():
            with _whole_or_not_at_all(), _for_this_user_alone():
                ray.init(
                    address="local",  # not a cluster that the environment happens to name
                    num_cpus=placement.total_cpus,
                    num_gpus=placement.total_gpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
                stack.enter_context(_agents_end_with_this_process())
            stack.callback(ray.shutdown)
        yield


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block, as forks and Ray do not bear it; a second one is not kept."""
    before = signal.getsignal(signal.SIGINT)
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _whole_or_not_at_all() -> Iterator[None]:
    """End all processes that the block has started where it does not come to its end.

    Ray would end some of them, and leave its agents for a minute.
    """
    this = psutil.Process()
    before = set(this.children(recursive=True))
    try:
        yield
    except BaseException:
        started = set(this.children(recursive=True)) - before
        ray.shutdown()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        raise


@contextmanager
def _for_this_user_alone() -> Iterator[None]:
    """Let Ray, started within, listen on loopback, as it always does on macOS and Windows, and take this sweep's token.

    Ray's own token is in a file of the home folder that it lets everybody read.
    """
    if "RAY_AUTH_TOKEN_PATH" not in os.environ and "RAY_AUTH_TOKEN" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        AuthenticationTokenLoader.instance().reset_cache()  # this process may have been part of a cluster before
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _agents_end_with_this_process() -> Iterator[None]:
    """Let the agents of Ray that runs here end at once where this process is killed: see `end_ray_agents`."""
    # `ray.init` keeps the processes that it started here, and has no public name for them.
    node: Any = ray._private.worker._global_node
    (raylet,) = node.all_processes[ray_constants.PROCESS_TYPE_RAYLET]
    # Looked up here: this process may be killed before the other one has begun, and raylet with it.
    started = psutil.Process(raylet.process.pid).children()  # the agents, and workers, which end by themselves
    agents = [f"{process.pid}:{process.create_time()!r}" for process in started]
    command = [sys.executable, "-I", str(_END_RAY_AGENTS), *agents]
    # A session of its own: the signals of a terminal are not for it.
    watching = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        watching.communicate()  # closes its standard input

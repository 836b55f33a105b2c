"""Ends the agents of a Ray whose raylet is gone, when the process that started both is gone too.

Raylet ends with that process, but its two agents first tell Ray's head what happened to raylet, and wait a minute for
an answer: the head is gone as well.

Started as a script: `python -I end_ray_agents.py RAYLET_PID`. Its standard input is a pipe from the process that
started Ray, and has nothing in it: it ends when that process is no more. It imports nothing of ours.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import psutil

_WAIT_SECONDS = 10.0
"""How long raylet may take to end."""


def main() -> None:
    """Wait until the process that wants Ray is gone, then end what is left."""
    raylet = psutil.Process(int(sys.argv[1]))
    started = raylet.children()  # the agents, which it starts first, and a few workers, which end by themselves
    sys.stdin.buffer.read()
    with suppress(psutil.TimeoutExpired):
        raylet.wait(_WAIT_SECONDS)
    for process in started:
        with suppress(psutil.NoSuchProcess):  # a later process of the same number is none of these: psutil knows
            process.kill()


if __name__ == "__main__":
    main()

"""Ends the agents of a Ray whose raylet is gone, when the process that started both is gone too.

Raylet ends with that process, but its two agents first tell Ray's head what happened to raylet, and wait a minute for
an answer: the head is gone as well.

Started as a script: `python -I end_ray_agents.py PID:CREATED...`, with the agents' process ids and when they began, in
seconds, as psutil says it. Its standard input is a pipe from the process that started Ray, and has nothing in it: it
ends when that process is no more. It imports nothing of ours.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import psutil


def main() -> None:
    """Wait until the process that wants Ray is gone, then end what is left."""
    sys.stdin.buffer.read()
    for agent in sys.argv[1:]:
        pid, created = agent.split(":")
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if process.create_time() == float(created):  # and no later process of the same number
                process.kill()


if __name__ == "__main__":
    main()

"""`launch.py sweep` on GPUs that are not there, with trials that replay curves; all else is the driver's real work.

    python benchmarks/simulated_driver.py GPUS PROFILE [arguments of `launch.py sweep`]

Used by `benchmarks/simulated_cluster.py`. PROFILE is a file for what cProfile says of the main thread, or `-`.
"""

from __future__ import annotations

import cProfile
import sys
from pathlib import Path

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from benchmarks.replayed_trial import replay_trial
from essnet.cli.app import main as run_command
from essnet.sweep import resources, runner

_CORES = 4
"""Ray starts as many workers before there is anything to do; trials ask for hundredths of a core."""


def main(gpus: int, profile: str, arguments: list[str]) -> None:
    """Run the sweep; ends the process with its exit code."""
    machine = resources.Capacity(nodes=(resources.Node(cpus=_CORES, gpus=gpus),))
    # To mypy a module's function is no variable.
    setattr(resources, "this_machine", lambda: machine)  # noqa: B010
    setattr(runner, "run_trial", replay_trial)  # noqa: B010
    if profile == "-":
        run_command(["sweep", *arguments])
        return
    profiler = cProfile.Profile()
    try:
        profiler.runcall(run_command, ["sweep", *arguments])
    finally:
        profiler.dump_stats(profile)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])

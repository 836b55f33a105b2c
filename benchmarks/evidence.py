"""All figures of docs/studies/ again: sweeps and scripts, one after the other, and then the pages' tables and pictures.

    python -m benchmarks.evidence                      all of it: hours on two cores
    python -m benchmarks.evidence neighbours growth    these alone

What was interrupted goes on where it was; what has ended is not run again. Results are stored in
`benchmarks/results/studies/`, sweeps in `--output`, where `launch.py report` and `launch.py ui` find them.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies import pages, plots
from benchmarks.studies.results import RESULTS, keep
from essnet.report import load_comparison
from essnet.sweep.folder import SweepFolder

_ROOT = Path(__file__).resolve().parents[1]

SWEEPS = {
    "dimensions-64": ("dimensions.yaml",),
    "dimensions-11": ("dimensions.yaml", "name=dimensions-11", "data.num_classes=11"),
    "dimensions-256": ("dimensions.yaml", "name=dimensions-256", "data.num_classes=256"),
    "neighbours": ("neighbours.yaml",),
    "map": ("map.yaml",),
    "long-tails": ("long_tails.yaml",),
    "orchestrator-grid": ("orchestrator.yaml",),
    "orchestrator-search-0": ("orchestrator_search.yaml",),
    "orchestrator-search-1": ("orchestrator_search.yaml", "name=orchestrator-search-1", "search.seed=1"),
    "orchestrator-search-2": ("orchestrator_search.yaml", "name=orchestrator-search-2", "search.seed=2"),
}
SCRIPTS = {
    "growth": ("benchmarks/growth.py",),
    "vocabulary": ("benchmarks/vocabulary.py", "--output", "{output}/vocabulary"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names; return the exit code of the first that failed."""
    names = (*SWEEPS, *SCRIPTS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--output", type=Path, default=Path("runs/evidence"))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(names)}")
    for name in options.names or names:
        print(f"== {name}", flush=True)
        code = _sweep(name, options.output) if name in SWEEPS else _script(name, options.output)
        if code:
            return code
    plots.save_all()
    return pages.main([])


def _sweep(name: str, output: Path) -> int:
    file, *overrides = SWEEPS[name]
    command = ["launch.py", "sweep", f"experiments/studies/{file}", *overrides]
    code = _run([*command, "--resume", "--output", str(output)])
    if code == 0:
        keep(load_comparison(SweepFolder(output / name)), RESULTS / f"{name}.json", command=shlex.join(command))
    return code


def _script(name: str, output: Path) -> int:
    result = RESULTS / f"{name}.json"
    command = [word.format(output=output) for word in SCRIPTS[name]]
    return 0 if result.exists() else _run([*command, "--json", str(result)])


def _run(command: Sequence[str]) -> int:
    return subprocess.run([sys.executable, *command], cwd=_ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Sweeps that are killed at random moments until `--kills` are spent, and then compared with sweeps that were not.

    python benchmarks/chaos.py --kills 100 --output /tmp/chaos

Tiny trials on generated textures run through `launch.py sweep`, two at a time. At a random moment, from the start of
the command to half the time that a whole sweep takes, one thing is killed by SIGKILL:

    driver    the command itself
    worker    the process of a trial that runs
    raylet    Ray's own process on this machine
    machine   all processes at once

Each four kills have each of them once. A command that is gone is started again at once with `--resume`, also beside
what the last one left behind. A sweep that comes to its end is checked (`benchmarks/chaos_checks.py`): every trial
completed once, no step before a checkpoint was taken twice, one MLflow run for each with every point of every metric
once, and every figure the same, to the bit, as without kills. Then the next one begins, with the next seed.

With `--nodes` nodes are lost instead: the sweep runs on a cluster of three nodes with GPUs that are not there, of which
one at a time is removed and another added. Nothing is started again there: the sweep has to go on by itself.

`--output` keeps everything: `kills.jsonl` (what, when, how the trials stood, what became of the command),
`problems.jsonl`, `summary.json`. A benchmark that was interrupted goes on where it was. What SIGKILL cannot show is a
disk that loses what was written. Linux only. Ends with 1 if there were problems.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# As a script, only the script's own folder is on the path; essnet is beside it.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from benchmarks.chaos_sweep import Kill, KilledSweep, read_lines
from benchmarks.sessions import take_signals
from essnet.atomic_files import read_json, write_json

ON_ONE_MACHINE = ("driver", "worker", "raylet", "machine")
ON_A_CLUSTER = ("node",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill what the command line asks for; write what was found, print the summary, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, required=True, help="of one seed; an interrupted benchmark goes on in it"
    )
    parser.add_argument("--nodes", action="store_true", help="lose nodes of a cluster instead")
    parser.add_argument(
        "--patience", type=float, default=300, help="seconds without any progress after which a command counts as hung"
    )
    options = parser.parse_args(arguments)
    records = Records(options.output.absolute())
    kinds = ON_A_CLUSTER if options.nodes else ON_ONE_MACHINE
    with ExitStack() as around:
        cluster = None
        if options.nodes:
            from benchmarks.chaos_nodes import three_nodes

            cluster = around.enter_context(three_nodes(records.output))
        sweep = 0
        while len(records.kills) < options.kills or records.folder(sweep).exists():
            if not records.is_closed(sweep):
                killed = KilledSweep(
                    records.folder(sweep), seed=options.seed + sweep, patience_seconds=options.patience, cluster=cluster
                )
                run_killed(killed, sweep, records, kinds=kinds, kills=options.kills, seed=options.seed)
            sweep += 1
    print(json.dumps(records.summary(), indent=2))
    return 1 if records.problems else 0


def run_killed(
    killed: KilledSweep, sweep: int, records: Records, *, kinds: Sequence[str], kills: int, seed: int
) -> None:
    """Run one sweep to its end with as many kills as it takes until there are `kills` in all, and check it."""
    with killed:
        longest_seconds = killed.run_reference()

        def next_kill() -> Kill | None:
            number = len(records.kills)
            if number >= kills:
                return None
            return draw(seed, sweep=sweep, number=number, longest_seconds=longest_seconds / 2, kinds=kinds)

        killed.run(
            next_kill,
            note_kill=lambda **values: records.add_kill(sweep=sweep, **values),
            note_problem=lambda problem: records.add_problem(sweep, problem),
        )
    for problem in killed.check(records.of_sweep(sweep)):
        records.add_problem(sweep, problem)
    records.close(sweep)


def draw(seed: int, *, sweep: int, number: int, longest_seconds: float, kinds: Sequence[str]) -> Kill:
    """Return kill `number`: the same for the same arguments; each round through the kinds has each of them once."""
    order = list(kinds)
    random.Random(f"{seed}/{number // len(kinds)}").shuffle(order)
    moment = random.Random(f"{seed}/{sweep}/{number}")
    return Kill(order[number % len(kinds)], moment.uniform(0, longest_seconds), moment.random())


class Records:
    """What was found out so far, on disk at once, below `output`."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.kills = _take_up(output / "kills.jsonl")
        self.problems = _take_up(output / "problems.jsonl")

    def folder(self, sweep: int) -> Path:
        """Return the folder of a sweep."""
        return self.output / "sweeps" / f"{sweep:03d}"

    def add_kill(self, **values: Any) -> None:
        """Note a kill."""
        values = {"kill": len(self.kills), **values}
        self.kills.append(values)
        _add_line(self.output / "kills.jsonl", values)
        print(f"kill {values['kill']}, sweep {values['sweep']}: {values['what']}; {values['result']}", flush=True)

    def add_problem(self, sweep: int, problem: str) -> None:
        """Note a problem."""
        self.problems.append({"sweep": sweep, "problem": problem})
        _add_line(self.output / "problems.jsonl", self.problems[-1])
        print(f"sweep {sweep}: problem: {problem}", flush=True)

    def of_sweep(self, sweep: int) -> list[dict[str, Any]]:
        """Return the kills of one sweep."""
        return [kill for kill in self.kills if kill["sweep"] == sweep]

    def close(self, sweep: int) -> None:
        """Note that a sweep came to its end and was checked."""
        problems = [one["problem"] for one in self.problems if one["sweep"] == sweep]
        write_json(self.folder(sweep) / "verdict.json", {"kills": len(self.of_sweep(sweep)), "problems": problems})

    def is_closed(self, sweep: int) -> bool:
        """Return whether a sweep was checked."""
        return (self.folder(sweep) / "verdict.json").exists()

    def summary(self) -> dict[str, Any]:
        """Return the summary, and write it to `summary.json`."""
        verdicts = [read_json(path) for path in sorted(self.output.glob("sweeps/*/verdict.json"))]
        result = {
            "kills": len(self.kills),
            "of": dict(Counter(kill["what"] for kill in self.kills)),
            "while": dict(Counter(phase(kill["before"]) for kill in self.kills)),
            "sweeps": len(verdicts),
            "sweeps_without_problems": sum(not verdict["problems"] for verdict in verdicts),
            "problems": self.problems,
        }
        write_json(self.output / "summary.json", result)
        return result


def phase(before: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a sweep was doing, from how its trials stood."""
    states = {trial["state"] for trial in before.values()}
    if not any(trial["begun"] for trial in before.values()):
        return "starting"
    return "training" if "RUNNING" in states else "resuming or ending"


def _take_up(path: Path) -> list[dict[str, Any]]:
    """Read a file that lines will be added to: one that was cut off is taken away."""
    lines = read_lines(path)
    if path.exists():
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return lines


def _add_line(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    take_signals()
    sys.exit(main())

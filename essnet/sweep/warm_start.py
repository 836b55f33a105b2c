"""What a search knows from earlier sweeps: looked up once, then kept in the sweep's folder, as those may grow or go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from essnet.atomic_files import read_json_as, write_json
from essnet.config import InputError, Point, Sweep, load_trial
from essnet.config.errors import named
from essnet.sweep.earlier_trials import Fit, fit
from essnet.sweep.find_sweep import find_sweep
from essnet.sweep.folder import COMPLETED, SweepFolder
from essnet.sweep.objectives import Figures, read_figures

WARM_START_FILE = "warm_start.json"


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of an earlier sweep, as a point of an arm of this one."""

    sweep: str
    trial_id: str
    arm: str
    point: Mapping[str, Any]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class WarmStart:
    """What was taken from earlier sweeps."""

    summary: tuple[str, ...] = ()
    """A line for each sweep: how many of its trials were taken, and why others were not."""
    trials: tuple[EarlierTrial, ...] = ()

    def known(self, arm: str) -> list[tuple[Point, Figures]]:
        """Return the points of an arm that are known, with what was found there."""
        return [(trial.point, trial.figures) for trial in self.trials if trial.arm == arm]


_WARM_START = TypeAdapter(WarmStart)


def find_warm_start(sweep: Sweep, folder: SweepFolder) -> WarmStart:
    """Return what the sweep in `folder` knows from earlier ones; it is looked up unless the folder has it already.

    Raises
    ------
    InputError
        If a sweep is not there, stands twice, or is this one, or if what the folder has is damaged.
    """
    kept = folder.path / WARM_START_FILE
    if kept.exists():
        return read_json_as(kept, _WARM_START, what="what is known from earlier sweeps")
    summary: list[str] = []
    found: list[EarlierTrial] = []
    seen: list[Path] = []
    for name in sweep.config.search.warm_start:
        with named("search.warm_start"):
            earlier = find_sweep(name, folder.path.parent)
        path = earlier.path.resolve()
        if path in seen or path == folder.path.resolve():
            which = "twice the same sweep" if path in seen else "this sweep itself"
            raise InputError(f"search.warm_start: found {name!r}, which is {which}; leave it out")
        seen.append(path)
        line, trials_of_one = _take(sweep, earlier, name)
        summary.append(line)
        found += trials_of_one
    return WarmStart(summary=tuple(summary), trials=tuple(found))


def keep_warm_start(sweep: Sweep, folder: SweepFolder) -> WarmStart:
    """Return `find_warm_start`, and keep it in the folder: a resumed sweep knows the same.

    Raises
    ------
    InputError
        As `find_warm_start` does.
    """
    warm_start = find_warm_start(sweep, folder)
    if sweep.config.search.warm_start:
        write_json(folder.path / WARM_START_FILE, asdict(warm_start))
    return warm_start


def _take(sweep: Sweep, earlier: SweepFolder, name: str) -> tuple[str, list[EarlierTrial]]:
    """Return a line about one earlier sweep, and what of it fits."""
    records = [record for record in earlier.records() if record.replicates is None]
    found: list[EarlierTrial] = []
    # Of all that was left out, what nearly fitted says most.
    reasons: list[tuple[bool, int, str]] = []
    for record in records:
        path = earlier.trial(record.trial_id)
        figures = read_figures(path, sweep.config.search)
        if record.state != COMPLETED or figures is None:
            reason = "did not complete" if record.state != COMPLETED else "lack a figure that the search looks at"
            reasons.append((True, 0, reason))
            continue
        fits = _fits(sweep, path)
        good = [arm for arm, one in fits.items() if not one.differences]
        found += [EarlierTrial(name, record.trial_id, arm, fits[arm].point, figures) for arm in good]
        if not good:
            nearest = min((one.differences for one in fits.values()), key=len, default=("fit no arm that is searched",))
            reasons.append((False, len(nearest), nearest[0]))
    taken = len(records) - len(reasons)
    line = f"{taken} of {len(records)} trials of {name}"
    if not reasons:
        return line, found
    reason = min(reasons, key=lambda one: one[:2])[2]
    return f"{line}; {'others' if taken else 'they'} {reason}", found


def _fits(sweep: Sweep, trial: Path) -> dict[str, Fit]:
    """Return how a trial fits each searched arm."""
    try:
        config = load_trial(trial / "config.yaml")
    except InputError as error:
        return {"": Fit({}, (f"cannot be read ({error})",))}
    return {arm.name: fit(sweep, arm, config) for arm in sweep.arms if arm.spaces}

"""What a sweep found out, gathered from its folder: the one source of every table, figure and sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from essnet.config.errors import InputError
from essnet.config.sweep import SearchConstraint
from essnet.report.configurations import Configuration, best_of, gather, rank
from essnet.report.pareto import pareto_front
from essnet.report.trials import ComparedTrial, TrialReader
from essnet.sweep.folder import ENDED, FAILED, SweepFolder


@dataclass(frozen=True)
class Comparison:
    """All configurations of a sweep beside its baseline."""

    sweep: str
    directory: Path
    tracking_uri: str
    parent_run_id: str | None
    metric: str
    mode: str
    num_trials: int
    done: bool
    """Whether no trial is left to run, but for failed ones."""
    trials: tuple[ComparedTrial, ...]
    configurations: tuple[Configuration, ...]
    """The trials, those together that differ in nothing but the seed."""
    baseline: Configuration | None
    """The best of the baseline arm, or None while it has no result."""
    best: Configuration | None
    """The best of all other arms, or None while they have no result."""

    @property
    def best_checkpoint(self) -> Path | None:
        """The checkpoint of the best configuration's first trial, or None while there is none."""
        if self.best is None:
            return None
        path = SweepFolder(self.directory).trial(self.best.first.trial_id) / "checkpoints" / "best"
        return path if path.exists() else None

    @property
    def several_seeds(self) -> bool:
        """Whether any configuration has trials with different seeds, ended or not."""
        return any(len({trial.seed for trial in one.trials}) > 1 for one in self.configurations)

    def ranked(self) -> list[Configuration]:
        """Return the configurations: those that went to their end, then others with a result; best mean first."""
        return sorted(
            self.configurations, key=lambda one: (one.value is None, not one.is_complete, *rank(one, mode=self.mode))
        )

    def best_of_arm(self, arm: str) -> Configuration | None:
        """Return the best configuration of an arm, or None while it has no result."""
        return best_of((one for one in self.configurations if one.arm == arm), mode=self.mode)

    def ratio(self, configuration: Configuration, figure: str) -> float | None:
        """Return a `perf/` figure of a configuration as a multiple of the baseline's."""
        if self.baseline is None or figure not in configuration.metrics or not self.baseline.metrics.get(figure):
            return None
        return configuration.metrics[figure] / self.baseline.metrics[figure]

    def with_cost(self, figure: str) -> list[Configuration]:
        """Return the configurations that went to their end and have a `perf/` figure."""
        return [
            one for one in self.configurations if one.is_complete and math.isfinite(one.metrics.get(figure, math.nan))
        ]

    def pareto_front(self, figure: str) -> list[Configuration]:
        """Return the configurations that no other one beats in the metric and a `perf/` figure at once, cheapest first.

        Those compete that have both and went to their end.
        """
        known = self.with_cost(figure)
        sign = 1 if self.mode == "max" else -1
        points = [(one.metrics[figure], sign * one.value.mean) for one in known if one.value is not None]
        return [known[place] for place in pareto_front(points)]


def load_comparison(folder: SweepFolder, reader: TrialReader | None = None) -> Comparison:
    """Gather a sweep's results, also of one that still runs.

    `reader` is the folder's, for one who looks again and again.

    Raises
    ------
    InputError
        If the folder is no sweep's, or its state is damaged.
    """
    state = folder.state()
    metric, mode = state["metric"], state["mode"]
    trials = tuple((reader or TrialReader(folder)).read(metric=metric, mode=mode))
    ended = sum(trial.state in (*ENDED, FAILED) for trial in trials)
    constraints = _constraints(folder, state)
    configurations = gather(trials, metric=metric, mode=mode, baseline_arm=state["baseline"], constraints=constraints)
    return Comparison(
        sweep=state["name"],
        directory=folder.path.absolute(),
        tracking_uri=state["tracking_uri"],
        parent_run_id=state["parent_run_id"],
        metric=metric,
        mode=mode,
        num_trials=state["num_trials"],
        done=bool(state.get("done", ended == state["num_trials"])),
        trials=trials,
        configurations=configurations,
        baseline=best_of((one for one in configurations if one.arm == state["baseline"]), mode=mode),
        best=best_of((one for one in configurations if one.arm != state["baseline"]), mode=mode),
    )


def _constraints(folder: SweepFolder, state: Mapping[str, Any]) -> list[SearchConstraint]:
    try:
        search = state.get("configuration", {}).get("search", {})
        return [SearchConstraint.model_validate(one) for one in search.get("constraints", ())]
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{folder.path / 'sweep.json'}: damaged; configuration.search has wrong constraints") from None


def load_comparisons(folders: Sequence[SweepFolder], readers: Sequence[TrialReader] | None = None) -> list[Comparison]:
    """Gather the results of several sweeps, to be seen together: each against its own baseline.

    `readers` are the folders', for one who looks again and again.

    Raises
    ------
    InputError
        Beside the reasons of `load_comparison`: if they are not compared by the same metric.
    """
    readers = readers or [TrialReader(folder) for folder in folders]
    found = [load_comparison(folder, reader) for folder, reader in zip(folders, readers, strict=True)]
    for one in found[1:]:
        if one.metric != found[0].metric:
            raise InputError(
                f"{one.sweep}: compares by {one.metric}, but {found[0].sweep} by {found[0].metric}; "
                "only sweeps with the same search.metric stand beside each other"
            )
    return found

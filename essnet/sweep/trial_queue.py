"""Which trial of a sweep comes next, given what has ended: the plan, and what the sweep's folder says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from essnet.config import Arm, Sweep
from essnet.sweep.budget import Budget
from essnet.sweep.folder import COMPLETED, ENDED, FAILED, PENDING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.objectives import Figures, missed, read_figures
from essnet.sweep.plan import PlannedTrial, plan_trials, trial_counts
from essnet.sweep.requests import Requests
from essnet.sweep.search import build_search
from essnet.sweep.warm_start import keep_warm_start
from essnet.training.result import read_history


class TrialQueue:
    """Deals out the records of trials: first those that were begun before, then new ones in the order of the plan.

    Last come those that need a whole device, having run out of memory beside others.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder) -> None:
        self._sweep = sweep
        self._folder = folder
        self._requests = Requests(folder.path)
        search = sweep.config.search
        self._budget = Budget(folder.path, hours=search.time_budget, steps=search.step_budget)
        self._earlier = keep_warm_start(sweep, folder)
        self._records = {record.trial_id: record for record in folder.records()}
        self._again = [record for record in self._records.values() if record.state not in ENDED]
        self._running: dict[str, TrialRecord] = {}
        self._ended: list[str] = []
        self._steps_taken: dict[str, int] = {}
        self._plan()

    def _plan(self) -> None:
        """Begin the searches, tell them what is known, and line up the trials that have not begun."""
        sweep, counts = self._sweep, trial_counts(self._sweep)
        self._searches = {
            arm.name: build_search(arm, sweep.config, counts[arm.name], self._earlier.known(arm.name))
            for arm in sweep.arms
        }
        for record in self._records.values():
            self._tell(record)
        begun = {(record.arm, record.arm_index) for record in self._records.values() if record.replicates is None}
        self._planned = [
            planned
            for planned in plan_trials(sweep)
            if planned.seed is not None or (planned.arm.name, planned.arm_index) not in begun
        ]

    def next(self) -> TrialRecord | None:
        """Return the trial to start now, or None while there is none."""
        self._look_at_ended()
        self._look_at_requests()
        record = self._next_again(alone=False) or self._next_planned() or self._next_again(alone=True)
        if record is not None:
            self._records[record.trial_id] = self._running[record.trial_id] = record
        return record

    def note_time(self, *, at_once: bool = False) -> None:
        """Keep the time that the sweep has spent, now and then or at once."""
        self._budget.note_time(at_once=at_once)

    def end(self, trial_id: str) -> None:
        """Take note that a trial has left its worker; how it went is looked up when the next one is asked for."""
        self._ended.append(trial_id)

    def is_done(self) -> bool:
        """Return whether no trial runs and none will come."""
        self._look_at_ended()
        self._look_at_requests()
        self._may_search()
        if self._again or self._running:
            return False
        return all(planned.seed is not None and self._replicate(planned) is None for planned in self._planned)

    def _look_at_ended(self) -> None:
        while self._ended:
            record = self._folder.record(self._ended.pop(0))
            del self._running[record.trial_id]
            self._records[record.trial_id] = record
            self._tell(record)
            if record.state == PENDING:
                self._again.append(record)

    def _look_at_requests(self) -> None:
        """Take trials that shall not run out of the queue, and those that were added into it."""
        to_stop = self._requests.to_stop()
        for record in [record for record in self._again if record.trial_id in to_stop]:
            self._again.remove(record)
            stopped = replace(record, state=STOPPED, error=None, failure=None)
            self._folder.write_record(stopped)
            self._records[record.trial_id] = stopped
            self._tell(stopped)
        added = self._requests.added_trials()
        if added != self._sweep.added_trials:
            self._sweep = replace(self._sweep, added_trials=added)
            self._plan()
            self._folder.note(num_trials=len(plan_trials(self._sweep)), added_trials=added)

    def _may_search(self) -> bool:
        """Return whether a further trial of the search may begin; forget those that never will."""
        time_is_spent = self._budget.time_is_spent()
        may = not time_is_spent and not (self._budget.counts_steps and self._budget.steps_are_spent(self._steps()))
        open_ones = (*self._again, *self._running.values())
        if not may and (time_is_spent or all(record.replicates is not None for record in open_ones)):
            self._planned = [planned for planned in self._planned if planned.seed is not None]
        return may

    def _steps(self) -> int:
        """Steps of the search: those that stopped trials took, and all that the others have to take."""
        return sum(self._steps_of(record) for record in self._records.values() if record.replicates is None)

    def _steps_of(self, record: TrialRecord) -> int:
        if record.state != STOPPED:
            return record.max_steps
        if record.trial_id not in self._steps_taken:
            history = read_history(self._folder.trial(record.trial_id) / "history.jsonl")
            self._steps_taken[record.trial_id] = history[-1]["step"] if history else 0
        return self._steps_taken[record.trial_id]

    def _next_again(self, *, alone: bool) -> TrialRecord | None:
        """A trial that was begun before. One that needs a whole device comes last: it would wait for one all along."""
        record = next((record for record in self._again if record.alone == alone), None)
        if record is not None:
            self._again.remove(record)
        return record

    def _next_planned(self) -> TrialRecord | None:
        may_search = self._may_search()
        for planned in list(self._planned):
            if self._is_searching(planned.arm) if planned.seed is not None else not may_search:
                continue
            self._planned.remove(planned)
            record = self._searched(planned) if planned.seed is None else self._replicate(planned)
            if record is not None:
                return record
        return None

    def _is_searching(self, arm: Arm) -> bool:
        """Whether the best configurations of an arm are not known yet."""
        if not arm.spaces:
            return not self._of_search(arm)
        open_ones = (*self._again, *self._running.values())
        return any(planned.arm is arm and planned.seed is None for planned in self._planned) or any(
            record.arm == arm.name and record.replicates is None for record in open_ones
        )

    def _searched(self, planned: PlannedTrial) -> TrialRecord:
        point = dict(self._searches[planned.arm.name].propose(planned.arm_index))
        return self._new_record(planned.arm, planned.arm_index, {**planned.arm.fixed, **point}, point=point)

    def _replicate(self, planned: PlannedTrial) -> TrialRecord | None:
        """The record of a replicate; None where the arm has too few configurations, or has this replicate."""
        best = self._best(planned.arm)
        if planned.arm_index >= len(best):
            return None
        original = best[planned.arm_index]
        overrides = {**original.overrides, "seed": planned.seed}
        if any(record.overrides == overrides and record.arm == original.arm for record in self._records.values()):
            return None
        record = self._new_record(planned.arm, original.arm_index, overrides, point=original.point)
        return replace(record, replicates=original.trial_id, alone=original.alone)

    def _new_record(
        self, arm: Arm, arm_index: int, overrides: Mapping[str, Any], *, point: Mapping[str, Any]
    ) -> TrialRecord:
        index = 1 + max((record.index for record in self._records.values()), default=-1)
        config = self._sweep.trial_config(overrides)
        return TrialRecord(
            trial_id=f"{index:03d}-{arm.name}",
            index=index,
            arm=arm.name,
            arm_index=arm_index,
            overrides=dict(overrides),
            point=dict(point),
            seed=config.seed,
            max_steps=config.trainer.max_steps,
        )

    def _of_search(self, arm: Arm) -> list[TrialRecord]:
        return [r for r in self._records.values() if r.arm == arm.name and r.replicates is None]

    def _best(self, arm: Arm) -> list[TrialRecord]:
        """An arm's configurations, the best first, each once; of an arm that is not searched the only one."""
        if not arm.spaces:
            return [r for r in self._of_search(arm) if r.state != FAILED or r.trial_id in self._running]
        valued = []
        for record in self._of_search(arm):
            figures = self._figures(record) if record.state == COMPLETED else None
            if figures is not None:
                valued.append((self._rank(figures), record.index, record))
        best: list[TrialRecord] = []
        for *_, record in sorted(valued):
            if all(record.overrides != other.overrides for other in best):
                best.append(record)
        return best

    def _rank(self, figures: Figures) -> tuple[float, float]:
        """Less is better: what keeps to the constraints comes before what does not."""
        search = self._sweep.config.search
        value = figures[search.metric]
        return missed(figures, search.constraints), -value if search.mode == "max" else value

    def _tell(self, record: TrialRecord) -> None:
        """Tell the arm's search how a trial of it went."""
        if record.state in ENDED and record.replicates is None:
            figures = self._figures(record)
            if figures is not None:
                self._searches[record.arm].tell(record.arm_index, record.point, figures)

    def _figures(self, record: TrialRecord) -> Figures | None:
        return read_figures(self._folder.trial(record.trial_id), self._sweep.config.search)

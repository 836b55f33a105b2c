"""The evaluations of a run while it trains: logged, kept, compared with the best so far, and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from essnet.atomic_files import write_png
from essnet.training.embedding_statistics import embedding_statistics
from essnet.training.evaluation import Evaluation
from essnet.training.evaluation_folder import write_evaluation_folder
from essnet.training.free_memory import return_heap
from essnet.training.result import History
from essnet.training.state import TrainingState
from essnet.training.tracker import Tracker

Report: TypeAlias = Callable[[int, Mapping[str, float]], None]
"""Called with (step, metrics)."""


class _AskedToStop(Exception):
    """Somebody wants the run to end while it is evaluated."""


class RunEvaluations:
    """Evaluates a run where it stands.

    Parameters
    ----------
    evaluation
        The split and how it is looked at.
    state
        The run, of which the best evaluation is a part.
    directory
        Where `history.jsonl`, `predictions/` and, of the best evaluation, `evaluation/` are.
    num_pictures
        How many images a picture of predictions shows.
    max_batches
        Evaluate on the first batches only.
    should_stop
        Asked after each batch; True ends the evaluation.
    report
        Called once for each evaluation, by `report`.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        *,
        state: TrainingState,
        directory: Path,
        num_pictures: int,
        max_batches: int | None,
        should_stop: Callable[[], bool],
        report: Report | None,
    ) -> None:
        self._evaluation = evaluation
        self._state = state
        self._history = History(directory / "history.jsonl")
        self._pictures = directory / "predictions"
        self._best = directory / "evaluation"
        self._num_pictures = num_pictures
        self._max_batches = max_batches
        self._should_stop = should_stop
        self._report = report
        self._to_report: tuple[int, Mapping[str, float]] | None = None

    def rewind(self) -> None:
        """Forget the evaluations of steps that the run has not taken: a resumed one takes them again."""
        self._history.rewind(self._state.step)

    def has(self, step: int) -> bool:
        """Whether a step was evaluated, to the end."""
        return self._history.has(step)

    def evaluate(self, tracker: Tracker) -> bool:
        """Evaluate, log, draw, and note whether this is the best so far; False if it was asked to stop before."""
        state, performance = self._state, self._state.performance
        model, step = state.evaluated_model, state.step
        try:
            with performance.evaluation():
                result = self._evaluation.run(
                    model,
                    max_batches=self._max_batches,
                    num_pictures=self._num_pictures,
                    sample_pixels=True,
                    progress=self._look_whether_to_stop,
                )
                embeddings = embedding_statistics(model.output_layer, predicted=result.counts.predicted())
                return_heap()
        except _AskedToStop:
            return False
        metrics = {**result.metrics, **embeddings}
        tracker.log(step, {**metrics, **performance.evaluation_figures()})
        self._history.append(step, {**metrics, **performance.summary()})
        picture = result.picture()
        if picture is not None:
            path = self._pictures / f"step-{step:06d}.png"
            write_png(path, picture)
            tracker.log_artifact(path, "predictions")
        self._to_report = step, metrics
        if not state.best or metrics["val/miou"] > state.best["val/miou"]:
            state.best_step, state.best = step, metrics
            # Before its checkpoint: a run that is killed between the two comes to this step again.
            write_evaluation_folder(
                self._best, step=step, result=result, output_layer=model.output_layer, data=self._evaluation.data
            )
        return True

    def report(self) -> None:
        """Report the last evaluation, unless it was."""
        if self._to_report is not None:
            to_report, self._to_report = self._to_report, None
            if self._report is not None:
                self._report(*to_report)

    def _look_whether_to_stop(self, done: int, total: int) -> None:
        if done < total and self._should_stop():
            raise _AskedToStop

"""Which of the searched parameters mattered, by what the trials found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

METHOD = "fANOVA, as Optuna has it"
FEWEST_POINTS = 10
"""Of fewer, the share of a parameter is mostly chance."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def parameter_importance(points: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return the share of each path in the variance of `values`, largest first; {} if no path varies.

    `points` are searched settings, dotted path -> value. Only paths that all of them have can be weighed. The shares
    are from a random forest with a fixed seed, and add up to 1.
    """
    paths = [path for path in points[0] if all(path in point for point in points)] if points else []
    spaces = {path: _space([point[path] for point in points]) for path in paths}
    varied = {path: space for path, space in spaces.items() if space is not None}
    if not varied or len(set(values)) < 2:
        return {}
    # Brings scikit-learn, which takes seconds to import.
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(direction="maximize")
    for point, value in zip(points, values, strict=True):
        parameters = {path: _parameter(point[path], space) for path, space in varied.items()}
        study.add_trial(create_trial(params=parameters, distributions=varied, value=value))
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))


def _space(values: Sequence[Any]) -> BaseDistribution | None:
    """Return a space around what was tried, or None where that is one value."""
    texts = sorted({json.dumps(value, sort_keys=True) for value in values})
    if len(texts) < 2:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        is_log = low > 0 and high >= 10 * low  # what spans orders of magnitude was meant to
        if all(isinstance(value, int) for value in values):
            return IntDistribution(low, high, log=is_log)
        return FloatDistribution(low, high, log=is_log)
    return CategoricalDistribution(texts)


def _parameter(value: Any, space: BaseDistribution) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(space, CategoricalDistribution) else value

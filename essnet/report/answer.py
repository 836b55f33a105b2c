"""The answer to what people ask a sweep: which configuration, and what does it cost against the full softmax.

It names no winner that the runs do not show: not on one seed, and not where trials took unequal steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.report.equal_steps import AgainstBaseline
from essnet.report.estimates import Estimate
from essnet.report.metric_names import in_words
from essnet.report.pareto import MEMORY_MIB, STEP_MS
from essnet.sweep.folder import ENDED, FAILED, STOPPED

_OBJECTIVES = {
    "full_softmax": "the full softmax",
    "knn_softmax": "k-nearest",
    "embedding_softmax": "exact over embeddings",
    "sampled_softmax": "sampled",
}
_MORE_SEEDS = "no winner is named; replicate.seeds=[0,1,2] would tell"


def answer(comparison: Comparison) -> str:
    """Return the sweep's answer in a few sentences."""
    baseline, best = comparison.baseline, comparison.best
    done = sum(trial.state in ENDED for trial in comparison.trials)
    failed = sum(trial.state == FAILED for trial in comparison.trials)
    progress = f"{done} of {comparison.num_trials} trials are done{f', {failed} failed' if failed else ''}."
    if baseline is None and best is None:
        return f"No answer yet: {progress}"
    if baseline is None and best is not None:
        best_alone = f"{describe(comparison, best)}: {_alone(comparison, best)}"
        return f"Without a result of the baseline, the best is {best_alone}. {progress}"
    if baseline is not None and best is None:
        return f"Only the baseline has a result: {_alone(comparison, baseline)}. {progress}"
    assert baseline is not None
    assert best is not None
    against = best.against_baseline
    sentences = [_contest(comparison, best, baseline)]
    if best.steps != baseline.steps:
        sentences.append(_unequal_steps(best, baseline, None if against is None else against.step))
    if not best.is_complete:
        sentences.append("It has not gone to its end, and nothing else but the baseline has.")
    if best.missed:
        sentences.append("No trial that went to its end keeps to the constraints; this one misses them by least.")
    sentences += [_left_out(configuration) for configuration in (best, baseline) if _num_left_out(configuration)]
    if done < comparison.num_trials:
        sentences.append(progress)
    return " ".join(sentences)


def answers(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a sentence a sweep; of several each begins with the sweep's name."""
    if len(comparisons) == 1:
        return [answer(comparisons[0])]
    return [f"{comparison.sweep}: {answer(comparison)}" for comparison in comparisons]


def describe(comparison: Comparison, configuration: Configuration) -> str:
    """Return a configuration in words: `k-nearest with d = 12, k = 7, similarity l2`.

    The arm is told where several have the same objective.
    """
    first = configuration.first
    parts = []
    if first.embedding_dim is not None:
        parts.append(f"d = {first.embedding_dim}")
    if first.num_neighbours is not None:
        parts.append(f"k = {first.num_neighbours}")
    if parts and "similarity" in first.settings:
        parts.append(f"similarity {first.settings['similarity']}")
    parts += [f"{name} {value}" for name, value in configuration.searched.items() if name != "similarity"]
    objective = first.settings.get("name")
    name = _OBJECTIVES.get(str(objective), configuration.arm)
    arms = {one.arm for one in comparison.configurations if one.first.settings.get("name") == objective}
    if len(arms) > 1:
        name += f" ({configuration.arm})"
    return f"{name} with {', '.join(parts)}" if parts else name


def _contest(comparison: Comparison, best: Configuration, baseline: Configuration) -> str:
    """Return best against baseline: values, price, and whether the difference may be chance."""
    against = best.against_baseline
    values: tuple[Estimate | None, Estimate | None] = (best.value, baseline.value)
    if against is not None and against.step is not None:
        values = against.value, against.of_baseline
    unequal_counts = len({value.count for value in values if value is not None}) > 1
    mine, others = (_value(value, with_count=unequal_counts) for value in values)
    difference = f" ({against.difference.text(sign='+')})" if against is not None else ""
    has_seeds = against is not None and against.difference.half_width is not None
    named = comparison.done and best.is_complete and has_seeds
    return (
        f"{'' if named else 'Best so far: '}{describe(comparison, best)}: {mine} {in_words(comparison.metric)} against "
        f"{others} for {describe(comparison, baseline)}{difference}{_price(comparison, best)}; "
        f"{_verdict(comparison, against)}."
    )


def _verdict(comparison: Comparison, against: AgainstBaseline | None) -> str:
    if against is None:
        return f"no seed in common, so that the difference may be that of the seeds: {_MORE_SEEDS}"
    difference = against.difference
    if difference.half_width is None:
        return f"{'one seed in common' if comparison.several_seeds else 'one seed each'}: {_MORE_SEEDS}"
    if difference.contains_zero:
        return f"not distinguishable at {difference.count} seeds"
    better = (difference.mean > 0) == (comparison.mode == "max")
    return f"{'better' if better else 'worse'} by more than chance at {difference.count} seeds"


def _unequal_steps(best: Configuration, baseline: Configuration, step: int | None) -> str:
    took = f"They took unequal steps ({best.steps} and {baseline.steps})"
    if step is not None:
        return f"{took}: both are compared as they were at step {step}."
    if best.is_complete and baseline.is_complete:
        return f"{took}, as the sweep asks."
    return f"{took}, and have no evaluation at equal ones."


def _value(value: Estimate | None, *, with_count: bool) -> str:
    assert value is not None
    return f"{value.text()} ({value.count} seed{'s' if value.count > 1 else ''})" if with_count else value.text()


def _alone(comparison: Comparison, configuration: Configuration) -> str:
    assert configuration.value is not None
    return f"{configuration.value.text()} {in_words(comparison.metric)}"


def _num_left_out(configuration: Configuration) -> int:
    """How many trials failed or were stopped and are not in the mean of those that went to their end."""
    states = [trial.state for trial in configuration.trials if trial not in configuration.counted]
    return states.count(FAILED) + states.count(STOPPED)


def _left_out(configuration: Configuration) -> str:
    number, total = _num_left_out(configuration), len(configuration.trials)
    return f"Of the {total} trials of {configuration.arm}, {number} failed or stopped early and are not in its mean."


def _price(comparison: Comparison, configuration: Configuration) -> str:
    memory = comparison.ratio(configuration, MEMORY_MIB)
    steps = comparison.ratio(configuration, STEP_MS)
    prices = []
    if memory:
        prices.append(
            _times(memory, less="less output memory", more="more output memory", same="as much output memory")
        )
    if steps:
        prices.append(_times(steps, less="faster steps", more="slower steps", same="steps as fast"))
    return "".join(f", {price}" for price in prices)


def _times(ratio: float, *, less: str, more: str, same: str) -> str:
    """Return a ratio as `7.1 x less ...`; `same` within half a per cent."""
    factor, what = (1 / ratio, less) if ratio < 1 else (ratio, more)
    if factor < 1.005:
        return same
    return f"{factor:.1f} x {what}" if factor >= 1.95 else f"{factor:.2f} x {what}"

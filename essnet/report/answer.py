"""The answer to what people ask a sweep: which configuration, and what does it cost against the full softmax."""

from __future__ import annotations

from essnet.report.comparison import Comparison
from essnet.report.configurations import Configuration
from essnet.sweep.folder import ENDED, FAILED, STOPPED


def answer(comparison: Comparison) -> str:
    """Return the sweep's answer in a few sentences."""
    baseline, best = comparison.baseline, comparison.best
    done = sum(trial.state in ENDED for trial in comparison.trials)
    failed = sum(trial.state == FAILED for trial in comparison.trials)
    progress = f"{done} of {comparison.num_trials} trials are done{f', {failed} failed' if failed else ''}."
    if baseline is None and best is None:
        return f"No answer yet: {progress}"
    if baseline is None and best is not None:
        value = f"{comparison.metric} {_value(comparison, best)}"
        return f"Without a result of the baseline, the best is {describe(best)}: {value}. {progress}"
    if baseline is not None and best is None:
        return f"Only the baseline has a result: {comparison.metric} {_value(comparison, baseline)}. {progress}"
    assert baseline is not None
    assert best is not None
    lead = "Use" if comparison.done else "Best so far is"
    difference = f" ({best.difference.text(sign='+')})" if best.difference is not None else ""
    sentences = [
        f"{lead} {describe(best)}: {comparison.metric} {_value(comparison, best)} against "
        f"{_value(comparison, baseline)} for {describe(baseline)}{difference}{_price(comparison, best)}."
    ]
    if best.steps != baseline.steps:
        sentences.append(f"They trained for unequal steps ({best.steps} and {baseline.steps}).")
    if best.missed:
        sentences.append("No trial that went to its end keeps to the constraints; this one misses them by least.")
    sentences.append(_certainty(comparison, best))
    sentences += [_left_out(configuration) for configuration in (best, baseline) if _num_left_out(configuration)]
    if done < comparison.num_trials:
        sentences.append(progress)
    return " ".join(sentences)


def describe(configuration: Configuration) -> str:
    """Return an objective in words: `knn_softmax with d = 12, k = 7, similarity l2`."""
    first = configuration.first
    parts = []
    if first.embedding_dim is not None:
        parts.append(f"d = {first.embedding_dim}")
    if first.num_neighbours is not None:
        parts.append(f"k = {first.num_neighbours}")
    if parts and "similarity" in first.settings:
        parts.append(f"similarity {first.settings['similarity']}")
    parts += [f"{name} {value}" for name, value in configuration.searched.items() if name != "similarity"]
    name = first.settings.get("name", configuration.arm)
    return f"{name} with {', '.join(parts)}" if parts else str(name)


def _value(comparison: Comparison, configuration: Configuration) -> str:
    assert configuration.value is not None
    count = configuration.value.count
    seeds = f" ({count} seed{'s' if count > 1 else ''})" if comparison.several_seeds else ""
    return f"{configuration.value.text()}{seeds}"


def _certainty(comparison: Comparison, best: Configuration) -> str:
    """Whether the difference to the baseline may be chance."""
    difference = best.difference
    if difference is None:
        return "They have no seed in common: the difference may be that of the seeds."
    if not comparison.several_seeds:
        return "One run each: small differences may be chance; run the best few again with other seeds."
    if difference.half_width is None:
        return "They have one seed in common: the difference is that of this seed and may be chance."
    if difference.contains_zero:
        return f"The difference, of {difference.count} equal seeds, is within noise: its 95 % interval contains 0."
    return f"The difference, of {difference.count} equal seeds, is more than noise: its 95 % interval excludes 0."


def _num_left_out(configuration: Configuration) -> int:
    """How many trials failed or were stopped and are not in the mean of those that went to their end."""
    states = [trial.state for trial in configuration.trials if trial not in configuration.counted]
    return states.count(FAILED) + states.count(STOPPED)


def _left_out(configuration: Configuration) -> str:
    number, total = _num_left_out(configuration), len(configuration.trials)
    return f"Of the {total} trials of {configuration.arm}, {number} failed or stopped early and are not in its mean."


def _price(comparison: Comparison, configuration: Configuration) -> str:
    prices = []
    memory = comparison.ratio(configuration, "perf/loss_memory_mib")
    if memory:
        prices.append(f"{1 / memory:.1f} x less" if memory < 1 else f"{memory:.1f} x the")
        prices[-1] += " memory of output layer and loss"
    step = comparison.ratio(configuration, "perf/step_ms")
    if step:
        prices.append(f"steps {step:.2f} x as long")
    return f", {', '.join(prices)}" if prices else ""

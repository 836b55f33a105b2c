"""The answer to what people ask a sweep: which configuration, and what does it cost against the full softmax."""

from __future__ import annotations

from essnet.report.comparison import ComparedTrial, Comparison
from essnet.sweep.folder import ENDED, FAILED


def answer(comparison: Comparison) -> str:
    """Return the sweep's answer in a few sentences."""
    baseline, best, metric = comparison.baseline, comparison.best, comparison.metric
    done = sum(trial.state in ENDED for trial in comparison.trials)
    failed = sum(trial.state == FAILED for trial in comparison.trials)
    progress = f"{done} of {comparison.num_trials} trials are done{f', {failed} failed' if failed else ''}."
    if baseline is None and best is None:
        return f"No answer yet: {progress}"
    if baseline is None and best is not None:
        return f"Without a result of the baseline, the best is {describe(best)}: {_value(best, metric)}. {progress}"
    if baseline is not None and best is None:
        return f"Only the baseline has a result: {_value(baseline, metric)}. {progress}"
    assert baseline is not None
    assert best is not None
    lead = "Use" if done + failed == comparison.num_trials else "Best so far is"
    sentences = [
        f"{lead} {describe(best)}: {_value(best, metric)} against {baseline.metrics[metric]:.3f} for "
        f"{describe(baseline)} ({comparison.difference(best):+.3f}){_price(comparison, best)}."
    ]
    if best.steps != baseline.steps:
        sentences.append(f"They trained for unequal steps ({best.steps} and {baseline.steps}).")
    if not any("seed" in trial.point for trial in comparison.trials):
        sentences.append("One run each: small differences may be chance; run the best few again with other seeds.")
    if done < comparison.num_trials:
        sentences.append(progress)
    return " ".join(sentences)


def _value(trial: ComparedTrial, metric: str) -> str:
    return f"{metric} {trial.metrics[metric]:.3f}"


def describe(trial: ComparedTrial) -> str:
    """Return an objective in words: `knn_softmax with d = 12, k = 7, similarity l2`."""
    parts = []
    if trial.embedding_dim is not None:
        parts.append(f"d = {trial.embedding_dim}")
    if trial.num_neighbours is not None:
        parts.append(f"k = {trial.num_neighbours}")
    if parts:
        parts.append(f"similarity {trial.settings['similarity']}")
    parts += [f"{name} {value}" for name, value in trial.other_point.items() if name != "similarity"]
    name = trial.settings.get("name", trial.arm)
    return f"{name} with {', '.join(parts)}" if parts else str(name)


def _price(comparison: Comparison, trial: ComparedTrial) -> str:
    prices = []
    memory = comparison.ratio(trial, "perf/loss_memory_mib")
    if memory:
        prices.append(f"{1 / memory:.1f} x less" if memory < 1 else f"{memory:.1f} x the")
        prices[-1] += " memory of output layer and loss"
    step = comparison.ratio(trial, "perf/step_ms")
    if step:
        prices.append(f"steps {step:.2f} x as long")
    return f", {', '.join(prices)}" if prices else ""

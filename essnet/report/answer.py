"""The answer to what people ask a sweep: which configuration, and what does it cost against the full softmax."""

from __future__ import annotations

from essnet.report.comparison import ComparedTrial, Comparison
from essnet.sweep.folder import ENDED, FAILED


def answer(comparison: Comparison) -> str:
    """Return the sweep's answer in a few sentences."""
    baseline, best = comparison.baseline, comparison.best
    done = sum(trial.state in ENDED for trial in comparison.trials)
    failed = sum(trial.state == FAILED for trial in comparison.trials)
    if baseline is None or best is None:
        missing = "the baseline" if baseline is None else "any other arm"
        return f"No answer yet: there is no result of {missing} ({done} of {comparison.num_trials} trials done)."
    difference = comparison.difference(best) or 0.0
    value, reference = best.metrics[comparison.metric], baseline.metrics[comparison.metric]
    sentences = [
        f"Use {describe(best)}: {comparison.metric} {value:.3f} against {reference:.3f} for {describe(baseline)} "
        f"({difference:+.3f}){_price(comparison, best)}."
    ]
    if best.steps != baseline.steps:
        sentences.append(f"They trained for unequal steps ({best.steps} and {baseline.steps}).")
    sentences.append("One run each: small differences may be chance; run the best few again with other seeds.")
    if done < comparison.num_trials:
        failures = f", {failed} failed" if failed else ""
        sentences.append(f"{done} of {comparison.num_trials} trials are done{failures}.")
    return " ".join(sentences)


def describe(trial: ComparedTrial) -> str:
    """Return an objective in words: `knn_softmax with d = 12, k = 7, similarity l2`."""
    parts = []
    if trial.embedding_dim is not None:
        parts.append(f"d = {trial.embedding_dim}")
    if trial.num_neighbours is not None:
        parts.append(f"k = {trial.num_neighbours}")
    if parts:
        parts.append(f"similarity {trial.settings['similarity']}")
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

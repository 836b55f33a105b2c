"""The tables of docs/studies/, in Markdown, each made from stored results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.growth import largest_table
from benchmarks.studies.results import baseline_of, configurations, embedding_dim, read, read_report, value_by
from essnet.report import Configuration
from essnet.report.estimates import estimate

MEMORY_MIB = "perf/loss_memory_mib"
_NAMES = {
    "full_softmax": "full softmax",
    "full_softmax_repeated": "full softmax, repeated",
    "all_classes": "all classes",
    "all_classes_repeated": "all classes, repeated",
    "nearest": "nearest",
    "nearest_and_random": "nearest and 16 random",
}
_FRESH_SEEDS = (10, 11, 12)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def dimensions(*, classes: Sequence[int]) -> str:
    """Rows are similarity and d, columns numbers of classes: mIoU, and the difference to the full softmax."""
    found = {number: configurations(read(f"dimensions-{number}")) for number in classes}
    first = found[classes[0]]
    rows = []
    for one in sorted(first, key=lambda one: (one.arm != "full_softmax", one.arm, embedding_dim(one) or 0)):
        same = {
            number: next(o for o in of if (o.arm, o.overrides) == (one.arm, one.overrides))
            for number, of in found.items()
        }
        cells = [_cell(other) for other in same.values()]
        if one.arm == "full_softmax":
            rows.append(["full softmax", "-", *cells])
        else:
            rows.append([f"`{one.arm}`", str(embedding_dim(one)), *cells])
    return markdown(["similarity", "d", *(f"{number:,} classes" for number in classes)], rows)


def dimension_costs(*, classes: Sequence[int]) -> str:
    """Rows are d, columns numbers of classes: memory of output layer and loss as a multiple of the full softmax's."""
    found = {number: configurations(read(f"dimensions-{number}")) for number in classes}
    costs = {
        number: {
            embedding_dim(one): one.metrics[MEMORY_MIB] / baseline_of(of).metrics[MEMORY_MIB]
            for one in of
            if one.arm == "dot"
        }
        for number, of in found.items()
    }
    rows = [
        [str(size), *(f"{costs[number][size]:.2f}" for number in classes)]
        for size in sorted(size for size in costs[classes[0]] if size is not None)
    ]
    return markdown(["d", *(f"{number:,} classes" for number in classes)], rows)


def neighbours(*, steps: Sequence[int] = (50, 100, 200, 300)) -> str:
    """Rows are what the loss looks at, columns steps of training: mIoU by then."""
    found = configurations(read("neighbours"))
    baseline = baseline_of(found)
    order = list(_NAMES)
    rows = []
    for one in sorted(found, key=lambda one: (order.index(one.arm), one.overrides.get(_K, 0))):
        name = _NAMES[one.arm] + (f", k = {one.overrides[_K]}" if _K in one.overrides else "")
        early = [f"{fmean(value_by(trial.curve, step) for trial in one.counted):.3f}" for step in steps[:-1]]
        rows.append([name, *early, _text(one), _difference(one, baseline)])
    head = ["loss over", *(f"step {step}" for step in steps), "to the full softmax"]
    return markdown(head, rows)


def long_tails() -> str:
    """Rows are arms, columns groups of classes by how frequent they are: mIoU of the best evaluation."""
    result = read("long-tails")
    metrics = ("val/miou", "val/miou_frequent", "val/miou_common", "val/miou_rare")
    by_metric = [{one.arm: one for one in configurations(result, metric=metric)} for metric in metrics]
    rows = [
        [_NAMES[arm], *(_text(of[arm]) for of in by_metric), _difference(by_metric[-1][arm], by_metric[-1][_FULL])]
        for arm in by_metric[0]
    ]
    return markdown(["arm", "all", "frequent", "common", "rare", "rare, to the full softmax"], rows)


def vocabulary() -> str:
    """Rows are ways to a larger vocabulary, columns old, new and all classes."""
    rows = []
    results = read("vocabulary")["results"]
    for similarity in dict.fromkeys(result["similarity"] for result in results):
        for way in dict.fromkeys(result["way"] for result in results):
            of_way = [one["metrics"] for one in results if (one["similarity"], one["way"]) == (similarity, way)]
            values = [
                estimate([one[name] for one in of_way]).text() if all(name in one for one in of_way) else "-"
                for name in ("val/miou_old", "val/miou_new", "val/miou")
            ]
            if way == "before":  # all the classes that it knows are old ones
                values = [values[2], "-", "-"]
            rows.append([f"`{similarity}`", way, *values])
    return markdown(["similarity", "way", "old classes", "new classes", "all"], rows)


def growth() -> str:
    """Rows are numbers of classes, columns objectives: MiB and milliseconds of a whole training step."""
    result = read("growth")
    batch = max(one["batch"] for one in result["measured"])
    measured = [one for one in result["measured"] if one["batch"] == batch]
    objectives = list(dict.fromkeys(one["objective"] for one in measured))
    rows = []
    for number in dict.fromkeys(one["num_classes"] for one in measured):
        of = {one["objective"]: one for one in measured if one["num_classes"] == number}
        cells = [
            "-" if of[name]["mib"] is None else f"{of[name]['mib']:,.0f} MiB, {of[name]['step_ms']:,.0f} ms"
            for name in objectives
        ]
        rows.append([f"{number:,}", *cells])
    return markdown(["classes", *(f"`{name}`" for name in objectives)], rows)


def largest() -> str:
    """The largest number of classes that fits, computed."""
    return largest_table(read("growth"))


def orchestrator(*, searches: Sequence[int]) -> str:
    """Rows are ways to choose d and k: what they chose, and its mIoU over seeds that no search has seen."""
    grid = read("orchestrator-grid")
    full = _fresh(grid, "full_softmax")
    rows = [
        ["full softmax", "-", "-", estimate(full).text(), "-"],
        _chosen("the paper's, fixed", grid, "paper", full),
        _chosen("grid", grid, "searched", full),
        *(
            _chosen(f"Optuna and ASHA, search seed {seed}", read(f"orchestrator-search-{seed}"), "searched", full)
            for seed in searches
        ),
    ]
    return markdown(["way", "trials, steps", "chose", "val/miou", "to the full softmax"], rows)


def search_costs(*, names: Sequence[str]) -> str:
    """What each sweep of the orchestrator's study took."""
    rows = []
    for name in names:
        trials = [trial for trial in read(name)["trials"] if trial["replicates"] is None]
        states = [trial["state"] for trial in trials]
        rows.append(
            [name, str(len(trials)), str(states.count("STOPPED")), f"{sum(trial['steps'] for trial in trials):,}"]
        )
    return markdown(["sweep", "trials of the search", "stopped early", "steps of the search"], rows)


def other_data() -> str:
    """The full softmax against the embedding objective on CamVid and on 1,284 textures."""
    rows = []
    for name, (data, arms) in _OTHER_DATA.items():
        found = configurations(read_report(name))
        baseline = baseline_of(found)
        for one in found:
            if one.arm in arms:
                rows.append([data, arms[one.arm], f"{one.steps:,}", _text(one), _difference(one, baseline)])
    return markdown(["data", "objective", "steps", "val/miou", "to the full softmax"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "dimensions": lambda: dimensions(classes=(11, 64, 256)),
    "other-data": other_data,
    "dimension-costs": lambda: dimension_costs(classes=(11, 64, 256)),
    "neighbours": neighbours,
    "growth": growth,
    "largest": largest,
    "long-tails": long_tails,
    "vocabulary": vocabulary,
    "orchestrator": lambda: orchestrator(searches=(0, 1, 2)),
    "search-costs": lambda: search_costs(
        names=("orchestrator-grid", *(f"orchestrator-search-{seed}" for seed in (0, 1, 2)))
    ),
}
"""Name between the markers of a page -> what makes the table."""

_K = "objective.num_neighbours"
_FULL = "full_softmax"
_OTHER_DATA = {
    "camvid_objectives": (
        "CamVid, 11 classes",
        {"full_softmax": "full softmax", "embedding_softmax": "exact, `dot`, d = 16"},
    ),
    "textures_many_classes": (
        "1,284 textures",
        {
            "full_softmax": "full softmax",
            "embedding_softmax": "exact, `dot`, d = 32",
            "embedding_equal_time": "the same, as long by the clock",
        },
    ),
}


def _text(one: Configuration) -> str:
    return "-" if one.value is None else one.value.text()


def _difference(one: Configuration, baseline: Configuration) -> str:
    return "-" if one.arm == baseline.arm or one.difference is None else one.difference.text(sign="+")


def _cell(one: Configuration) -> str:
    return _text(one) if one.arm == _FULL or one.difference is None else f"{_text(one)} ({one.difference.mean:+.3f})"


def _fresh(result: Mapping[str, Any], arm: str) -> list[float]:
    """mIoU of an arm's replicates, by seed: the seed that the search chose it by is left out, as it flatters."""
    of_arm = {trial["seed"]: trial for trial in result["trials"] if trial["arm"] == arm and trial["replicates"]}
    return [of_arm[seed]["metrics"]["val/miou"] for seed in _FRESH_SEEDS]


def _chosen(way: str, result: Mapping[str, Any], arm: str, full: Sequence[float]) -> list[str]:
    fresh = _fresh(result, arm)
    of_search = [trial for trial in result["trials"] if trial["arm"] == arm and trial["replicates"] is None]
    chosen = next(trial for trial in result["trials"] if trial["arm"] == arm and trial["replicates"])["overrides"]
    spent = f"{len(of_search)}, {sum(trial['steps'] for trial in of_search):,}" if len(of_search) > 1 else "-"
    words = [
        f"{name} = {_short(chosen[path])}"
        for name, path in (
            ("d", "objective.embedding_dim"),
            ("k", _K),
            ("similarity", "objective.similarity"),
            ("rate of class embeddings", "optimizer.class_embeddings_lr_factor"),
        )
        if path in chosen
    ]
    difference = estimate([one - other for one, other in zip(fresh, full, strict=True)]).text(sign="+")
    return [
        way,
        spent,
        ", ".join(words).replace(" = ", " = ") or "d = 12, k = 7, l2",
        estimate(fresh).text(),
        difference,
    ]


def _short(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)

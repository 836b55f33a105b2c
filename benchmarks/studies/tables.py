"""The tables of docs/studies/, in Markdown, each made from stored results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from benchmarks.studies.results import baseline_of, configurations, embedding_dim, read, read_report, value_by
from essnet.report import Configuration

MEMORY_MIB = "perf/loss_memory_mib"
_NAMES = {
    "full_softmax": "full softmax",
    "all_classes": "all classes",
    "nearest": "nearest",
    "nearest_and_random": "nearest and 16 random",
}


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


def front_page() -> str:
    """What a reader wants first: data, full softmax, embeddings, what they cost; each with its study."""
    rows = []
    found = configurations(read("dimensions-64"))
    (one,) = (one for one in found if one.arm == "dot" and embedding_dim(one) == 64)
    rows.append(_front_row("64 textures", one, baseline_of(found), "exact, d = 64"))
    found = configurations(read("neighbours"))
    (one,) = (one for one in found if one.arm == "nearest" and one.overrides[_K] == 3)
    rows.append(_front_row("64 textures", one, baseline_of(found), "nearest, d = 32, k = 3"))
    for name, arm, data, setting in (
        ("camvid_objectives", "embedding_softmax", "CamVid, 11 classes", "exact, d = 16"),
        ("textures_many_classes", "embedding_softmax", "1,284 textures", "exact, d = 32"),
        ("textures_many_classes", "embedding_equal_time", "1,284 textures, equal time", "exact, d = 32"),
    ):
        found = configurations(read_report(name))
        (one,) = (one for one in found if one.arm == arm)
        rows.append(_front_row(data, one, baseline_of(found), setting))
    return markdown(["data", "full softmax", "embeddings", "", "difference", "memory, x"], rows)


def _front_row(data: str, one: Configuration, baseline: Configuration, setting: str) -> list[str]:
    memory = one.metrics[MEMORY_MIB] / baseline.metrics[MEMORY_MIB]
    return [data, _text(baseline), _text(one), setting, _difference(one, baseline), f"{memory:.2f}"]


TABLES: Mapping[str, Callable[[], str]] = {
    "front-page": front_page,
    "dimensions": lambda: dimensions(classes=(64,)),
    "dimension-costs": lambda: dimension_costs(classes=(64,)),
    "other-data": other_data,
    "neighbours": neighbours,
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

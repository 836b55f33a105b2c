"""What is said of a node of a cluster: each fact judged, with what to do where it is not well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from essnet.sweep.cluster import ClusterNode
from essnet.sweep.node_facts import BROKEN
from essnet.sweep.shared_output import problem_with_output
from essnet.sweep.shared_storage import problem_with_storage

_GIB = 2**30
_ENOUGH_DISK_GIB = 5
_ENOUGH_MEMORY_GIB = 4


@dataclass(frozen=True)
class Finding:
    """Whether something is well, and what was found or what to do."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True)
class Expected:
    """What a node's facts are held against."""

    node: ClusterNode
    versions: Mapping[str, str]
    """Of the process that starts the sweep."""
    output: Path
    probe: Path
    """The folder in `output` that the node was to visit."""
    storage: tuple[str, str] | None = None
    """Address of the storage, and the folder in it that the node was to visit."""


def judge(facts: Mapping[str, Any], expected: Expected) -> list[Finding]:
    """Return what is to be said of the facts that `look_around` found on a node."""
    findings = []
    for name, judge_fact in _JUDGES.items():
        if name not in facts:  # not asked for
            continue
        fact = facts[name]
        if isinstance(fact, dict) and BROKEN in fact:
            findings.append(Finding(name, False, f"cannot be found out there: {fact[BROKEN]}"))
        else:
            findings.append(Finding(name, *judge_fact(fact, expected)))
    return findings


_Verdict = tuple[bool, str]


def _versions(found: dict[str, str], expected: Expected) -> _Verdict:
    here = expected.versions
    others = [f"{name} {found[name]} there and {here[name]} here" for name in here if found[name] != here[name]]
    if others:
        return False, f"{', '.join(others)}; install the same requirements.txt there"
    return True, ", ".join(f"{name} {version}" for name, version in found.items())


def _output(visited: str | None, expected: Expected) -> _Verdict:
    output, node_id = expected.output, expected.node.node_id
    problem = problem_with_output(visited, output=output, probe=expected.probe, node_id=node_id)
    return problem is None, problem or f"{output} is the same folder there"


def _storage(visited: str | None, expected: Expected) -> _Verdict:
    assert expected.storage is not None  # else it is not asked for
    address, key = expected.storage
    problem = problem_with_storage(visited, address=address, key=key, node_id=expected.node.node_id)
    return problem is None, problem or f"{address} can be read and written there"


def _data(problems: dict[str, str | None], expected: Expected) -> _Verdict:
    unread = [f"{path}: {problem}" for path, problem in problems.items() if problem is not None]
    if unread:
        return False, f"{', '.join(unread)}; put it there, or mount it, at the same path"
    return True, f"{', '.join(problems)} can be read"


def _tracking(problem: str | None, expected: Expected) -> _Verdict:
    if problem is not None:
        return False, f"the tracking server does not answer there ({problem}); open its port, and allow its host name"
    return True, "the tracking server answers"


def _disk(free: dict[str, int], expected: Expected) -> _Verdict:
    text = ", ".join(f"{bytes_free / _GIB:.1f} GiB free at {path}" for path, bytes_free in free.items())
    if min(free.values()) < _ENOUGH_DISK_GIB * _GIB:
        return False, f"{text}; make room: each wants {_ENOUGH_DISK_GIB} GiB"
    return True, text


def _memory(free: int, expected: Expected) -> _Verdict:
    text = f"{free / _GIB:.1f} GiB free, {expected.node.cpus} CPU cores that Ray counts"
    if free < _ENOUGH_MEMORY_GIB * _GIB:
        return False, f"{text}; a trial wants {_ENOUGH_MEMORY_GIB} GiB, end something there"
    return True, text


def _gpus(seen: int, expected: Expected) -> _Verdict:
    counted = expected.node.gpus
    text = f"{seen} that torch sees, {counted} that Ray counts"
    if seen < counted:
        return False, f"{text}; mend driver or torch there, or start Ray there with --num-gpus {seen}"
    if seen > counted:
        return False, f"{text}; start Ray there with --num-gpus {seen}, or hide the others with CUDA_VISIBLE_DEVICES"
    return True, text


_JUDGES: dict[str, Callable[[Any, Expected], _Verdict]] = {
    "versions": _versions,
    "output": _output,
    "storage": _storage,
    "data": _data,
    "tracking": _tracking,
    "disk": _disk,
    "memory": _memory,
    "gpus": _gpus,
}
"""Name of a fact -> how it is judged; findings come in this order."""

"""A disk that loses power: what may be on it then, for every moment of what a program did.

What was not synced may be there or not. Of names (files made, renamed, removed) any part may be kept, in their order;
the content of a file may be missing, or end in the middle. This is more than any file system really loses: most keep
names in the order in which they came.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from pathlib import Path

import pytest

from tests.file_system_calls import Call, calls_told_to

Tree = dict[str, "bytes | str | None"]
"""Path -> content of a file, target of a link, or None for a folder."""

_MOST_NAMES_AT_WILL = 5
"""Of more that are not synced, only those up to some moment are kept: there would be too many choices."""


@dataclass(frozen=True)
class Operation:
    """Something that was done: `write`, `mkdir`, `rename`, `symlink`, `remove`, `rmdir`, or `sync` of a path."""

    kind: str
    path: str
    other: str = ""
    content: bytes = b""


@dataclass
class Recording:
    """What was done below a folder, in order, from the tree that was there before."""

    root: Path
    before: Tree = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)


@contextmanager
def recorded(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """Record what the block does below `root`, in this thread; what was there before counts as synced."""
    recording = Recording(root, read_tree(root))
    now = dict(recording.before)

    def note(operation: Operation) -> None:
        apply(now, operation)
        recording.operations.append(operation)

    def look() -> None:
        """Note what was written since the last call."""
        for path, content in read_tree(root).items():
            if isinstance(content, bytes) and now.get(path) != content:
                note(Operation("write", path, content=content))

    def listen(call: Call) -> None:
        if root not in call.path.parents or call.kind == "open":
            return
        look()
        path = str(call.path.relative_to(root))
        if call.kind == "rename":
            assert call.other is not None
            note(Operation("rename", path, str(call.other.relative_to(root))))
        elif call.kind == "symlink":
            note(Operation("symlink", path, str(call.other)))
        elif (call.kind == "mkdir") != (path in now):  # else it fails, as its caller expects
            note(Operation(call.kind, path))

    sync = os.fsync

    def noted_sync(descriptor: int) -> None:
        sync(descriptor)
        look()
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_relative_to(root):
            recording.operations.append(Operation("sync", str(path.relative_to(root))))

    with monkeypatch.context() as patched, calls_told_to(listen):
        patched.setattr(os, "fsync", noted_sync)
        yield recording
    look()
    assert now == read_tree(root), "something was done that was not seen"


def states_after_loss(recording: Recording) -> Iterator[tuple[int, Tree]]:
    """Yield all that may be on the disk: after how many operations the power went, and what is left. No state twice."""
    for done in range(len(recording.operations) + 1):
        seen = set()
        for tree in _states(recording.before, recording.operations[:done]):
            key = hash(tuple(sorted(tree.items(), key=lambda entry: entry[0])))
            if key not in seen:
                seen.add(key)
                yield done, tree


def read_tree(root: Path) -> Tree:
    """Return what is below a folder."""
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            tree[name] = os.readlink(path)
        else:
            tree[name] = path.read_bytes() if path.is_file() else None
    return tree


def write_tree(root: Path, tree: Mapping[str, bytes | str | None]) -> None:
    """Make a folder that holds a tree."""
    root.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        path = root / name
        if content is None:
            path.mkdir()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content)


def apply(tree: Tree, operation: Operation) -> None:
    """Do what an operation does, as far as it can be done."""
    kind, path = operation.kind, operation.path
    parent = os.path.dirname(path)
    if kind == "sync" or (parent and parent not in tree):
        return
    if kind == "write":
        tree[path] = operation.content
    elif kind == "mkdir":
        tree.setdefault(path, None)
    elif kind == "symlink":
        tree[path] = operation.other
    elif kind == "rename":
        _rename(tree, path, operation.other)
    elif path in tree and not (kind == "rmdir" and _below(tree, path)):
        del tree[path]


def _rename(tree: Tree, path: str, other: str) -> None:
    if path not in tree or _below(tree, other):
        return
    moved = [path, *_below(tree, path)]
    for name in moved:
        tree[other + name[len(path) :]] = tree.pop(name)


def _below(tree: Tree, folder: str) -> list[str]:
    return [name for name in tree if name.startswith(f"{folder}/")]


def _states(before: Tree, operations: Sequence[Operation]) -> Iterator[Tree]:
    lost = [place for place in range(len(operations)) if _may_be_lost(operations, place)]
    for kept in _choices(lost):
        done = [one for place, one in enumerate(operations) if place not in lost or place in kept]
        unsynced = [place for place, one in enumerate(done) if one.kind == "write" and not _synced(done, place)]
        for damaged in ((), *((place,) for place in unsynced), tuple(unsynced)):
            for parts in (0, 1) if damaged else (0,):  # of two: nothing of the content, or its first half
                tree = dict(before)
                for place, one in enumerate(done):
                    content = one.content[: len(one.content) * parts // 2] if place in damaged else one.content
                    apply(tree, replace(one, content=content))
                yield tree


def _choices(lost: Sequence[int]) -> Iterator[set[int]]:
    if len(lost) > _MOST_NAMES_AT_WILL:
        return (set(lost[:count]) for count in range(len(lost) + 1))
    return (set(kept) for kept in chain.from_iterable(combinations(lost, count) for count in range(len(lost) + 1)))


def _may_be_lost(operations: Sequence[Operation], place: int) -> bool:
    """Whether the name that an operation makes, moves or removes may be as it was: its folder was not synced since."""
    operation = operations[place]
    if operation.kind == "sync":
        return False
    if operation.kind == "write" and any(
        one.kind == "write" and one.path == operation.path for one in operations[:place]
    ):
        return False  # the name was there
    folder = os.path.dirname(operation.path) or "."
    return not any(one.kind == "sync" and one.path == folder for one in operations[place + 1 :])


def _synced(operations: Sequence[Operation], place: int) -> bool:
    path = operations[place].path
    return any(one.kind == "sync" and one.path == path for one in operations[place + 1 :])

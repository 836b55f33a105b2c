"""Whether every node of a cluster reads and writes a sweep's storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

from essnet.config import InputError
from essnet.sweep.node_facts import ABSENT, DRIVER_FILE
from essnet.sweep.storage import Storage, StorageError


@contextmanager
def probe_storage(address: str) -> Iterator[str]:
    """Make a folder of a random name in a storage that nodes visit while the block runs; nothing is left of it.

    Raises
    ------
    InputError
        If the storage does not answer, or refuses.
    """
    key = f".essnet-probe-{token_hex(8)}"
    try:
        storage = Storage(address)
        storage.write(f"{key}/{DRIVER_FILE}", b"")
        try:
            yield key
        finally:
            storage.remove(f"{key}/{name}" for name in storage.names(key))
            storage.remove_folder(key)
    except StorageError as error:
        raise InputError(f"{error}; mend it, or give another storage=...") from error


def problem_with_storage(visited: str | None, *, address: str, key: str, node_id: str) -> str | None:
    """Return what is wrong with the storage on a node, or None.

    `visited` is what `visit_storage` returned there, in the folder `key`, which must be there still.
    """
    if visited == ABSENT or (visited is None and node_id not in Storage(address).names(key)):
        return f"{address} is another place there, or none; choose one that all nodes reach under the same name"
    if visited is not None:
        return (
            f"cannot be reached there ({visited}); start Ray there with the same keys and endpoint in its environment"
        )
    return None

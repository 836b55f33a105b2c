"""Whether the output folder is one folder, which every node of a cluster reads, writes and locks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from essnet.config import InputError
from essnet.file_lock import HeldByOther, hold
from essnet.sweep.node_facts import ABSENT, DRIVER_FILE, LOCK_FILE, NOT_LOCKED


@contextmanager
def probe_folder(output: Path) -> Iterator[Path]:
    """Make a folder of a random name in `output` that nodes visit while the block runs; nothing is left of it.

    Raises
    ------
    InputError
        If it cannot be made, or its file system does not lock files.
    """
    folder = output.absolute() / f".essnet-probe-{token_hex(8)}"
    made = [path for path in folder.parents if not path.exists()]
    try:
        folder.mkdir(parents=True)
        (folder / DRIVER_FILE).touch()
        with hold(folder / LOCK_FILE):
            yield folder
    except HeldByOther:
        raise InputError(f"--output: the file system of {output} does not lock files (flock); choose another") from None
    except OSError as error:
        raise InputError(f"--output: {error.filename}: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()


def problem_with_output(visited: str | None, *, output: Path, probe: Path, node_id: str) -> str | None:
    """Return what is wrong with the output folder on a node, or None.

    `visited` is what `visit` returned there, in the folder `probe`, which must be there still.
    """
    if visited == ABSENT or (visited is None and node_id not in os.listdir(probe)):
        return f"{output} is another folder there, or none; choose one that all nodes mount at the same path"
    if visited == NOT_LOCKED:
        return f"{output} is the same folder there, but its locks are not; mount it so that flock holds on all nodes"
    if visited is not None:
        return f"{output} cannot be written there ({visited}); let the same user own it on all nodes"
    return None

"""What each version of essnet left on a disk, frozen: `essnet-<version>/outputs.tar.xz`.

An archive holds an output folder with an interrupted sweep, its checkpoints, and MLflow's store, that as SQL. The
folder's path stands in the files as `@OUTPUT@`, and that of the source as `@SOURCE@`.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
ARCHIVE, STORE = "outputs.tar.xz", "mlflow.sql"
OUTPUT, SOURCE = "@OUTPUT@", "@SOURCE@"
SWEEP, TRIAL = "kept", "001-knn"
"""The sweep, and its trial that was interrupted; the one before it has ended, the one after it has not begun."""
_TEXTS = (".json", ".jsonl", ".yaml", ".txt", ".csv", ".html", ".sql")


def examples() -> list[Path]:
    """Return the folders of all versions, the newest last."""
    return sorted(HERE.glob("essnet-*"), key=lambda path: [int(part) for part in path.name[7:].split(".")])


def unpack_example(example: Path, output: Path) -> None:
    """Make of an example what it was, at another place."""
    with tarfile.open(example / ARCHIVE) as archive:
        archive.extractall(output, filter="data")
    replace_texts(output, lambda text: text.replace(OUTPUT, str(output)).replace(SOURCE, str(HERE.parents[1])))
    with closing(sqlite3.connect(output / "mlflow.db")) as database:
        database.executescript((output / STORE).read_text(encoding="utf-8"))
    (output / STORE).unlink()


def replace_texts(folder: Path, change: Callable[[str], str]) -> None:
    """Change what stands in the text files below a folder."""
    for path in folder.rglob("*"):
        if path.suffix in _TEXTS and path.is_file() and not path.is_symlink():
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

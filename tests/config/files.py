"""Small configuration files to be changed by tests."""

from __future__ import annotations

from pathlib import Path

TRIAL = """\
name: t
data: {name: textures}
objective: {name: knn_softmax}
"""
FOLDER_TRIAL = """\
name: t
data: {name: folder, root: pictures}
objective: {name: knn_softmax}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path

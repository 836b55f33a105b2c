"""Archives made for tests, and what lies in a folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def zip_of(files: Mapping[str, bytes], *, folders: bool = True, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for folder in _folders(files) if folders else []:
            archive.writestr(f"{folder}/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def tar_of(files: Mapping[str, bytes], *, gzipped: bool = False) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz" if gzipped else "w") as archive:
        for folder in _folders(files):
            archive.addfile(_entry(folder, tarfile.DIRTYPE))
        for name, content in files.items():
            entry = _entry(name, tarfile.REGTYPE)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def tar_with(name: str, kind: bytes, link: str = "") -> bytes:
    """A tar file with one member of any kind, behind a harmless one."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(_entry("harmless.txt", tarfile.REGTYPE))
        entry = _entry(name, kind)
        entry.linkname = link
        archive.addfile(entry)
    return target.getvalue()


def zip_with_link(name: str, target_of_link: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, target_of_link)
    return target.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"no file"
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return entry


def _folders(files: Mapping[str, bytes]) -> list[str]:
    folders = {parent for name in files for parent in Path(name).parents}
    return sorted(str(folder) for folder in folders if str(folder) not in (".", "/", ".."))

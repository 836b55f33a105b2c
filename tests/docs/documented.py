"""What README.md and docs/ show: commands, blocks of configuration and code, names of keys."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("CONTRIBUTING.md")])

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=")
# What stands behind a command, three spaces or a "#" apart, explains it; so does a line that begins far to the right.
_EXPLANATION = re.compile(r"(   +|  # ).*$")
_FAR = 8


@dataclass(frozen=True)
class Block:
    """A fenced block; `language` is what stands behind its fence."""

    where: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command as it is written, its words without variables before it, and whether it stands within a sentence."""

    where: str
    text: str
    words: tuple[str, ...]
    inline: bool = False


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    content = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(content):
        indent = found["indent"]
        text = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        yield Block(_where(page, content, found.start()), found["language"], text)


def spans(page: Path) -> Iterator[tuple[str, str]]:
    """Yield where each piece of code within a sentence stands, and what it says."""
    content = page.read_text(encoding="utf-8")
    prose = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), content)
    for found in _SPAN.finditer(prose):
        yield _where(page, prose, found.start()), " ".join(found[1].split())


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: all lines of `sh` blocks, and what within sentences begins like one."""
    for block in blocks(page):
        if block.language == "sh":
            for line in lines_of(block.text):
                yield from _commands_in(line, block.where, inline=False)
    for where, text in spans(page):
        if re.match(r"(\S+=\S+ )*(\.venv/bin/)?(launch\.py|make|python|mlflow|ray) \S", text):
            yield from _commands_in(text, where, inline=True)


def lines_of(text: str) -> Iterator[str]:
    """The commands of a block, those over several lines as one."""
    for line in re.sub(r" \\\n\s*", " ", re.sub(r" \|\n\s*", " | ", text)).splitlines():
        if len(line) - len(line.lstrip()) < _FAR:
            command = _EXPLANATION.sub("", line.strip())
            if command and not command.startswith("# "):
                yield command


def _commands_in(line: str, where: str, *, inline: bool) -> Iterator[Command]:
    words: list[str] = []
    for word in [*shlex.split(line), ";"]:
        if word not in ("|", "&&", "&", ";"):
            words.append(word)
            continue
        while words and _VARIABLE.match(words[0]):
            words.pop(0)
        if words:
            yield Command(where, line, tuple(words), inline)
        words = []


def _where(page: Path, content: str, position: int) -> str:
    return f"{page.relative_to(ROOT)}:{content.count(chr(10), 0, position) + 1}"

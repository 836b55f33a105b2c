"""A hook of MkDocs: pages that lie outside docs/, and links from docs/ to the repository's other files.

On the site a link to a file that is no page becomes its name; where there is no such file the strict build fails.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md"}
"""Pages of the repository's root, and what they are called on the site."""

LINK = re.compile(r"\[([^]]+)\]\(((?!https?:|#|mailto:)[^)\s#]+)(#[^)\s]*)?\)")

_log = logging.getLogger("mkdocs.hooks.repository_files")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for path, name in PAGES.items():
        if (ROOT / path).is_file():
            content = (ROOT / path).read_text(encoding="utf-8")
            files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to pages of the site there, and leave the names alone of the repository's other files."""
    original = {name: path for path, name in PAGES.items()}.get(page.file.src_uri)
    folder = posixpath.dirname(original if original is not None else f"docs/{page.file.src_uri}")

    def on_the_site(link: re.Match[str]) -> str:
        text, target, anchor = link[1], posixpath.normpath(posixpath.join(folder, link[2])), link[3] or ""
        if target in PAGES:
            name = PAGES[target]
        elif target.startswith("docs/"):
            name = target.removeprefix("docs/")
        elif (ROOT / target).exists():
            return text
        else:
            _log.warning("%s links to %s, which is not there", page.file.src_uri, target)
            return text
        return f"[{text}]({posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    # What stands in a block of code is no link.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(on_the_site, part) for part in parts)

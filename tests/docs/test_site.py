"""The site of docs/: every link leads somewhere, the API is whole, and a page fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import essnet
from tests.browser import chromium

ROOT = Path(__file__).resolve().parents[2]
FETCHES = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


def build(site: Path, *, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([*command, str(site)], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    done = build(path, config=ROOT / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    return path


class _Addresses(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == FETCHES.get(tag) and value]


def test_make_site_is_the_strict_build() -> None:
    command = ["make", "--dry-run", "--assume-old=.venv/.dev", "site"]
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [".venv/bin/python -m mkdocs build --strict"]


def test_no_page_names_anything_to_fetch_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        addresses = _Addresses()
        addresses.feed(page.read_text(encoding="utf-8"))
        assert addresses.found
        assert [found for found in addresses.found if re.match(r"(https?:)?//", found)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_a_browser_asks_for_the_sites_own_files_only(site: Path) -> None:
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        errors: list[object] = []
        page.on("pageerror", lambda error: errors.append(error))
        for name in ("index.html", "api.html", "objectives.html", "tutorial.html"):
            page.goto((site / name).as_uri(), wait_until="networkidle")
            assert page.locator("article h1").count() == 1
    assert errors == []
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:", "blob:"))] == []


def test_lists_and_tables_are_such(site: Path) -> None:
    """Without an empty line before it, a list or table that an editor shows would be a paragraph here."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        paragraphs = re.findall(r"<p>(.*?)</p>", text[text.find("<article") :], re.DOTALL)
        assert [one for one in paragraphs if re.search(r"^(- |[1-9]\. |\| )", one, re.MULTILINE)] == [], page.name


def test_the_api_page_has_every_name_and_reads_as_written(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    names = [name for name in essnet.__all__ if name != "__version__"]
    assert [name for name in names if f'id="essnet.{name}"' not in page] == []
    # A docstring's line that begins with ">=" would be a quotation.
    assert "<blockquote>" not in page


def test_what_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    faults = {
        "[x](nowhere.md)": "'nowhere.md'",
        "[x](other.md#none)": "'other.md#none'",
        "[x](#none)": "'#none'",
        "[x](../nowhere.py)": "nowhere.py, which is not there",
        "![x](images/nowhere.png)": "'images/nowhere.png'",
    }
    # The real settings and hook, with two pages of their own.
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_bytes((ROOT / "mkdocs.yml").read_bytes())
    (tmp_path / "docs" / "repository_files.py").write_bytes((ROOT / "docs" / "repository_files.py").read_bytes())
    good = "[b](other.md#c) [code](../mkdocs.yml)"
    (tmp_path / "docs" / "other.md").write_text("# B\n\n## C\n", encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text("\n\n".join(["# A", good, *faults]), encoding="utf-8")
    done = build(tmp_path / "site", config=tmp_path / "mkdocs.yml")
    assert done.returncode == 1
    assert [complaint for complaint in faults.values() if complaint not in done.stderr] == []
    assert done.stderr.count("WARNING") + done.stderr.count("ERROR") == len(faults)

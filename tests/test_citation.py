"""CITATION.cff keeps to version 1.2.0 of its format, where it uses it, and cites the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import essnet

ROOT = Path(__file__).resolve().parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

NEEDED = {"cff-version", "message", "title", "authors"}
ALLOWED = NEEDED | {
    "abstract", "contact", "commit", "date-released", "doi", "identifiers", "keywords", "license", "license-url",
    "preferred-citation", "references", "repository", "repository-artifact", "repository-code", "type", "url",
    "version",
}  # fmt: skip
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "affiliation", "orcid", "email", "website"}
ENTITY = {"name", "address", "city", "country", "email", "orcid", "website", "alias"}
REFERENCE = {"type", "title", "authors", "year", "month", "doi", "url", "collection-title", "identifiers", "pages"}


def assert_authors(authors: list[dict[str, Any]]) -> None:
    assert authors
    for author in authors:
        assert set(author) <= (ENTITY if "name" in author else PERSON)
        assert all(isinstance(value, str) and value for value in author.values())


def test_it_has_the_keys_of_its_format() -> None:
    assert set(CITATION) >= NEEDED
    assert set(CITATION) <= ALLOWED
    assert (CITATION["cff-version"], CITATION["type"]) == ("1.2.0", "software")
    assert_authors(CITATION["authors"])


def test_it_is_of_this_version_and_licence() -> None:
    assert CITATION["version"] == essnet.__version__
    assert CITATION["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_it_cites_the_paper() -> None:
    paper = CITATION["preferred-citation"]
    assert set(paper) <= REFERENCE
    assert paper["type"] == "conference-paper"
    assert paper["title"] == "Scaling Semantic Segmentation Beyond 1K Classes on a Single GPU"
    assert paper["year"] == 2021
    assert_authors(paper["authors"])
    assert [author["family-names"] for author in paper["authors"]] == ["Jain", "Paudel", "Danelljan", "Van Gool"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2012.07489"}]

"""Names of other packages' code: which there are, which may be imported, and what is called with what."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from essnet.config import DataConfig, InputError, extensions, trial_from_mapping
from essnet.config.data import ExtensionData
from essnet.config.extension_names import DATA_SETS, OBJECTIVES, installed
from essnet.config.extensions import allow, build, check_name, code_in, load
from essnet.config.trial import TrialConfig
from tests.config.sweep_files import load as load_sweep_text

KEY = "objective.name"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory in which nothing is allowed, and which leaves nothing imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extensions, "_allowed", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def offer(site: Path, package: str, text: str, *, entries: str) -> None:
    """Install a module with entry points, `[group]` and `name = path` lines, into a folder."""
    (site / f"{package}.py").write_text(text)
    information = site / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entries)


def test_nothing_is_imported_that_nobody_has_named(here: Path) -> None:
    (here / "wicked.py").write_text("raise SystemError")
    with pytest.raises(InputError, match=r"found wicked:build, code that this command was not asked to run"):
        load("wicked:build", group=OBJECTIVES, key=KEY)
    allow(["wicked:other", "wicked.build:build"])
    with pytest.raises(InputError, match="--allow-code wicked:build"):
        load("wicked:build", group=OBJECTIVES, key=KEY)


def test_what_is_named_is_found_in_the_working_directory_of_then(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mine_a.py").write_text("class Makers:\n    def build(): ...\n")
    (here / "json.py").write_text("build = 3")
    allow(["mine_a:Makers.build", "json:dumps"])
    monkeypatch.chdir("/")
    assert load("mine_a:Makers.build", group=OBJECTIVES, key=KEY).__qualname__ == "Makers.build"
    assert sys.path[-1] == str(here)
    assert callable(load("json:dumps", group=OBJECTIVES, key=KEY))  # Python's: nothing of the folder hides it


def test_a_worker_is_told_the_folder(here: Path) -> None:
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "mine_b.py").write_text("def build(): ...\n")
    allow(["mine_b:build"], folder=here / "elsewhere")
    assert load("mine_b:build", group=OBJECTIVES, key=KEY).__module__ == "mine_b"


def test_the_environment_allows_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mine_c.py").write_text("def build(): ...\n")
    monkeypatch.setenv("ESSNET_ALLOW_CODE", "other:build,mine_c:build")
    assert load("mine_c:build", group=OBJECTIVES, key=KEY).__module__ == "mine_c"


def test_installed_packages_offer_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "squares" not in installed(DATA_SETS)
    offer(
        here, "shapes_d", "def build(): ...\n", entries=f"[{DATA_SETS}]\nsquares = shapes_d:build\nvoc = shapes_d:build"
    )
    monkeypatch.syspath_prepend(here)
    assert list(installed(DATA_SETS)) == ["squares", "voc"]
    assert load("squares", group=DATA_SETS, key="data.name").__module__ == "shapes_d"
    adapter: TypeAdapter[Any] = TypeAdapter(DataConfig)
    assert isinstance(adapter.validate_python({"name": "squares"}), ExtensionData)
    assert not isinstance(adapter.validate_python({"name": "voc", "root": "r"}), ExtensionData)  # what is built in
    mapping = {"name": "x", "data": {"name": "circles"}, "objective": {"name": "full_softmax"}}
    with pytest.raises(InputError, match=r"data.name: found 'circles'; .* package.module:attribute, squares, textures"):
        trial_from_mapping(mapping, (), source="x.yaml")
    with pytest.raises(InputError, match=r"found 'circles', which no installed package offers in essnet\.data_sets"):
        load("circles", group=DATA_SETS, key="data.name")


def test_two_packages_with_one_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("shapes_e", "shapes_f"):
        offer(here, package, "def build(): ...\n", entries=f"[{DATA_SETS}]\nsquares = {package}:build")
    monkeypatch.syspath_prepend(here)
    with pytest.raises(InputError, match=r"which is both shapes_[ef]:build and shapes_[ef]:build; take one of these"):
        load("squares", group=DATA_SETS, key="data.name")


def test_looking_names_up_imports_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(here, "shapes_g", "raise SystemError", entries=f"[{OBJECTIVES}]\nnew = shapes_g:build")
    monkeypatch.syspath_prepend(here)
    assert check_name("new", group=OBJECTIVES, built_in=("old",)) == "new"
    assert importlib.metadata.version("shapes_g") == "1.0"
    assert "shapes_g" not in sys.modules
    with pytest.raises(ValueError, match=r"found 'newer'; one of old, new, package\.module:attribute"):
        check_name("newer", group=OBJECTIVES, built_in=("old",))


def test_options_come_as_keyword_arguments(here: Path) -> None:
    (here / "mine_h.py").write_text("def build(*, width, scale=1, **more):\n    return width, scale, more\n")
    allow(["mine_h:build"])
    made = build("mine_h:build", group=OBJECTIVES, key=KEY, given={"width": 3}, options={"scale": 2, "any": "x"})
    assert made == (3, 2, {"any": "x"})
    with pytest.raises(InputError, match=r"objective\.options\.width: unknown key; known are objective\.options\."):
        build("mine_h:build", group=OBJECTIVES, key=KEY, given={"width": 3}, options={"width": 2})


def test_which_code_a_trial_and_a_sweep_name(tmp_path: Path) -> None:
    assert code_in({"data.name": "a.b:c", "objective": {"name": "d:e", "options": {"name": "f:g"}}}) == ["a.b:c", "d:e"]
    assert code_in({"data": {"name": "voc"}, "model.encoder_weights": "package:x"}) == []
    text = """
name: s
base:
  data: {name: "in.base:data"}
  objective: {name: full_softmax}
baseline: full
arms:
  full: {data.name: "in.arm:data"}
  other: {objective.name: {choice: [full_softmax, "in.space:objective"]}}
scheduler: {name: "in.scheduler:rule"}
report: {figures: ["in.report:figure"]}
"""
    sweep = load_sweep_text(tmp_path, text)
    assert sorted(sweep.code) == [
        "in.arm:data", "in.base:data", "in.report:figure", "in.scheduler:rule", "in.space:objective",
    ]  # fmt: skip


def test_a_saved_configuration_has_options_only_where_there_are_any() -> None:
    """What an earlier version of essnet reads as well."""
    mapping: dict[str, Any] = {"name": "x", "data": {"name": "textures"}, "objective": {"name": "full_softmax"}}
    assert "options" not in TrialConfig.model_validate(mapping).model_dump()["objective"]
    mapping["objective"] = {"name": "a:b", "options": {"gamma": 1}}
    again = TrialConfig.model_validate(TrialConfig.model_validate(mapping).model_dump())
    assert again.objective.options == {"gamma": 1}

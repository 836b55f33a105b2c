"""Blocks of configuration and code in README.md and docs/ are what they seem, and so are keys within sentences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import essnet
from essnet.config import load_sweep, load_trial
from essnet.config.overrides import dotted_paths, with_overrides
from essnet.config.strict_yaml import parse_yaml
from essnet.config.sweep import SWEEP_BLOCKS, SweepConfig
from essnet.config.trial import TrialConfig
from essnet.config.trial_keys import key_paths
from tests.docs.documented import PAGES, Block, blocks, spans

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"sh", "text", "yaml", "python"}
IN_SENTENCES = re.compile(r"((?:[a-z_]+\.)+[a-z_]+)(?:[=:].*)?")
FILES = {"json", "jsonl", "pt", "safetensors", "yaml", "md", "py", "png", "toml", "txt", "db", "html", "csv"}


def _blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def test_every_block_says_what_it_is() -> None:
    found = {block.where: block.language for page in PAGES for block in blocks(page)}
    assert len(found) > 40
    wrong = [where for where, language in found.items() if language not in LANGUAGES]
    assert wrong == [], f"a block begins with ``` and one of {LANGUAGES}"
    fences = sum(len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(found)


@pytest.mark.parametrize("block", _blocks("yaml"), ids=lambda block: block.where)
def test_a_block_of_yaml_is_a_configuration(block: Block, tmp_path: Path) -> None:
    """A sweep, a trial, or a part of either, which then stands in the shipped ones for a folder of images."""
    shipped = ROOT / "experiments" / "folder"
    part = parse_yaml(block.text, source=block.where)
    if "arms" not in part and not set(part) <= {*SWEEP_BLOCKS, "base", "overrides", "baseline"}:
        trial = yaml.safe_load((shipped / "trial.yaml").read_text())
        trial = with_overrides(trial, dotted_paths(part, source=block.where))
        (tmp_path / "trial.yaml").write_text(yaml.safe_dump(trial))
        load_trial(tmp_path / "trial.yaml")
        return
    sweep = {} if "arms" in part else yaml.safe_load((shipped / "sweep.yaml").read_text())
    (tmp_path / "trial.yaml").write_bytes((shipped / "trial.yaml").read_bytes())
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep | part))
    load_sweep(tmp_path / "sweep.yaml")


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.where)
def test_a_block_of_python_runs(block: Block) -> None:
    program = compile(block.text, block.where, "exec")
    if "mlflow" in program.co_names:
        return  # needs a store with a model: tests/report/test_best_models.py
    names = {
        "essnet": essnet,
        "network": nn.LazyConv2d(32, 1),
        "images": torch.rand(1, 3, 4, 4),
        "targets": torch.zeros(1, 8, 8, dtype=torch.int64),
    }
    exec(program, names)


def test_every_key_in_a_sentence_is_one() -> None:
    known = {*key_paths(TrialConfig), *key_paths(SweepConfig)}
    roots = {key.split(".")[0] for key in known if "." in key}
    blocks_of_keys = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    named = [
        (where, found[1])
        for page in PAGES
        for where, text in spans(page)
        if (found := IN_SENTENCES.fullmatch(text))
        and found[1].split(".")[0] in roots
        and found[1].rsplit(".")[-1] not in FILES
    ]
    assert len(named) > 50
    unknown = [place for place in named if place[1] not in known | blocks_of_keys]
    # What stands in `options` belongs to somebody else's code.
    assert [place for place in unknown if place[1].rpartition(".options.")[0] + ".options" not in known] == []

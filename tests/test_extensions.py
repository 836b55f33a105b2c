"""One of each from outside the package, by import path and by entry point: trained, swept, reported, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from essnet.cli.app import main
from essnet.config import extensions
from tests.docs.documented import ROOT
from tests.outside import DISCS, FOCAL, SPEED, install_package, write_package

TRIAL: dict[str, Any] = {
    "data": {"name": DISCS, "crop_size": 32, "options": {"images": 4}},
    "model": {"architecture": "deeplabv3plus", "encoder": "tu-test_resnet"},
    "objective": {"name": "full_softmax"},
    "trainer": {"max_steps": 2, "batch_size": 2, "device": "cpu", "num_threads": 1},
    "evaluation": {"every_steps": 1, "batch_size": 2, "num_pictures": 1},
    "tracking": {"log_model": "none"},
}
SWEEP: dict[str, Any] = {
    "name": "outside",
    "base": TRIAL,
    "baseline": "full",
    "arms": {
        "full": {},
        "here": {"objective.name": FOCAL, "objective.options.gamma": {"choice": [0.5, 1]}},
        "installed": {"data.name": "discs", "objective.name": "focal"},
    },
    "scheduler": {"name": "patience", "options": {"evaluations": 2}},
    "report": {"figures": [SPEED, "speed"]},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a user's package after a sweep there, and what the command returned."""
    here = write_package(tmp_path_factory.mktemp("here"))
    site = install_package(tmp_path_factory.mktemp("site"))
    (here / "sweep.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    command = [sys.executable, str(ROOT / "launch.py"), "sweep", "sweep.yaml", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return here, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def strangers_command(swept: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which somebody else runs a command, who has not named any code."""
    monkeypatch.chdir(swept[0])
    monkeypatch.setattr(extensions, "_allowed", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield swept[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypkg"]:
        del sys.modules[name]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not [name for name in sys.modules if name.partition(".")[0] == "mypkg"]
    return line


@pytest.mark.slow
def test_a_sweep_has_one_of_each(swept: tuple[Path, dict[str, Any]]) -> None:
    here, result = swept
    found = {trial["trial_id"]: (trial["state"], trial["steps"]) for trial in result["trials"]}
    assert found == dict.fromkeys(["000-full", "001-here", "002-installed", "003-here"], ("COMPLETED", 2))
    told = [json.loads(line)["trial_id"] for line in (here / "runs/outside/results.jsonl").read_text().splitlines()]
    assert sorted(set(told)) == ["001-here", "002-installed", "003-here"]
    page = (here / "runs/outside/comparison.html").read_text()
    assert "could not be drawn" not in page
    assert page.count("Bar chart of the images a second of 4 configurations.") == 4  # two figures, as picture and chart
    assert page.count("<h2>Images per second</h2>") == 1
    settings = yaml.safe_load((here / "runs/outside/trials/003-here/config.yaml").read_text())
    assert settings["objective"]["options"] == {"gamma": 1}
    assert settings["data"]["options"] == {"images": 4}


@pytest.mark.slow
def test_what_a_folder_names_runs_only_for_who_names_it_too(
    strangers_command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = "runs/outside/trials/001-here/checkpoints/best"
    asked = "code that this command was not asked to run; if you trust it: --allow-code"
    assert f"data.name: found {DISCS}, {asked} {DISCS}" in refusal(capsys, "evaluate", checkpoint)
    assert f"objective.name: found {FOCAL}, {asked} {FOCAL}" in refusal(
        capsys, "predict", checkpoint, str(strangers_command / "runs/outside/comparison.png"), "--device", "cpu"
    )
    assert f"data.name: found {DISCS}, {asked} {DISCS}" in refusal(capsys, "train", "--from-trial", "outside/1")
    assert f"report.figures: found {SPEED}, {asked} {SPEED}" in refusal(capsys, "report", "outside", "--format", "html")

    page = strangers_command / "runs/outside/comparison.html"
    page.unlink()
    with pytest.raises(SystemExit) as ended:
        main(["report", "outside", "--format", "html", "--figure", SPEED])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{page.relative_to(strangers_command)}\n"
    assert "<h2>Images per second</h2>" in page.read_text()
    assert "speed is a figure of a package that is not installed here." in page.read_text()

    with pytest.raises(SystemExit) as ended:
        main(["evaluate", checkpoint, f"data.name={DISCS}", "--allow-code", FOCAL, "--json"])
    assert ended.value.code == 0
    assert "val/miou" in json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]

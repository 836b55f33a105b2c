"""Every command in README.md and docs/ is one: run in a prepared folder, or else read by its program's own parser."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from essnet.cli import app
from essnet.config import InputError, load_sweep, load_trial
from essnet.config.strict_yaml import load_yaml_mapping
from tests.docs.documented import PAGES, Command, commands, spans
from tests.docs.prepared import prepare

ROOT = Path(__file__).resolve().parents[2]

STANDS_FOR = {
    "SWEEP.yaml": "experiments/textures/sweep.yaml",
    "SWEEP": "textures",
    "SWEEP2": "textures-2",
    "TRIAL": "3",
    "CHECKPOINT": "runs/train/textures/checkpoints/best",
    "HOST:PORT": "head:6379",
    "[key=value": None,
    "...": None,
    "...]": None,
}
"""What a reader puts in place of a word; None: nothing."""

SHORTENED = {
    ("train",): "--fast-dev-run",
    ("sweep",): "--dry-run",
    ("data", "download"): "--dry-run",
}
"""What a command is run with, so that it ends soon and fetches nothing."""

NOT_RUN = {
    "ui": "stays until it is ended: tests/cli/test_ui.py",
    "cluster check": "needs a cluster: tests/sweep/test_cluster_on_ray.py",
}
"""Commands of essnet that are only parsed, their configuration included."""

NOT_RUN_WITH = {
    "--address": "needs a cluster: tests/sweep/test_cluster_on_ray.py",
    "paper.yaml": "needs the data set and a hub's weights: docs/paper.md says so",
    "data.root=...": "needs labelled images of all classes: tests/cli/test_grow.py",
    "--profile": "takes more than the two steps of --fast-dev-run: tests/training/test_debug_runs.py",
    "--watch": "stays while the sweep runs: tests/cli/test_report.py",
}
"""The same, of whatever command has a word that ends so."""

OTHERS = {
    "mkdir", "cd", "export", ".", "echo", "curl", "pip", "sudo", "docker", "kubectl", "sbatch",
    "head",
}  # fmt: skip
"""Programs that are not essnet's and need a machine of their own; files of ours that they name are looked for."""


def _every(program: str) -> list[Command]:
    found = {command.words: command for page in PAGES for command in commands(page) if _program(command) == program}
    return list(found.values())


def _program(command: Command) -> str:
    if "launch.py" in command.words or "essnet" == command.words[0]:
        return "launch.py"
    return command.words[0].removeprefix(".venv/bin/")


def _arguments(command: Command) -> list[str]:
    """What stands behind `launch.py`, with real names in place of those that a reader chooses."""
    words = command.words[1 + (command.words.index("launch.py") if "launch.py" in command.words else 0) :]
    chosen = [STANDS_FOR.get(word, word) for word in words]
    # No test writes outside its folder.
    return [re.sub(r"^/(shared|data)/", r"\1/", word) for word in chosen if word is not None]


def _not_run(arguments: Sequence[str]) -> set[str]:
    """The entries of both tables that keep a command from being run."""
    line = " ".join(arguments)
    named = {command for command in NOT_RUN if f"{line} ".startswith(f"{command} ")}
    return named | {end for end in NOT_RUN_WITH if any(word.endswith(end) for word in arguments)}


def parse(program: Any, words: Sequence[str]) -> Any:
    """Let a command line of typer or click read words as its own; returns the command that they name."""
    command, rest = program, list(words)
    while hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, f"{rest[0]}: there are {', '.join(command.commands)}"
        command = command.commands[rest.pop(0)]
    if rest:  # a command that is only named has none
        command.make_context(command.name, rest)
    return command


@contextlib.contextmanager
def only_parsing() -> Iterator[list[argparse.Namespace]]:
    """argparse reads the arguments, and goes no further."""

    class Parsed(Exception):
        pass

    seen: list[argparse.Namespace] = []
    original = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, *arguments: Any, **more: Any) -> argparse.Namespace:
        seen.append(original(self, *arguments, **more))
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with contextlib.suppress(Parsed):
            yield seen


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = prepare(tmp_path_factory.mktemp("prepared"))
    with contextlib.chdir(folder):
        yield folder


def _name(command: Command) -> str:
    return f"{command.where} {' '.join(command.words)}"


def read(arguments: Sequence[str]) -> Any:
    """Let essnet read arguments, and the configuration in them its overrides; returns the command that they name."""
    parsed = parse(typer.main.get_command(app.app), arguments)
    settings = next((Path(word) for word in arguments if word.endswith(".yaml")), None)
    if settings is not None:
        load = load_sweep if "arms" in load_yaml_mapping(ROOT / settings) else load_trial
        load(settings, [word for word in arguments if re.match(r"[a-z_.]+=", word)])
    return parsed


@pytest.mark.parametrize("command", _every("launch.py"), ids=_name)
def test_a_command_of_essnet(command: Command, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the tutorial the command line and the configuration only: test_tutorial.py runs it from end to end."""
    arguments = _arguments(command)
    parsed = read(arguments)
    named_only = command.inline and (hasattr(parsed, "commands") or arguments[-1] == parsed.name)
    if named_only or _not_run(arguments) or command.where.startswith("docs/tutorial.md"):
        return
    for words, option in SHORTENED.items():
        if tuple(arguments[: len(words)]) == words and option not in arguments:
            arguments.append(option)
    with pytest.raises(SystemExit) as ended:
        app.main(arguments)
    printed = capsys.readouterr()
    # doctor's 1 is not that it failed, but that this machine lacks something.
    fine = (None, 0, 1) if arguments == ["doctor"] else (None, 0)
    assert ended.value.code in fine, printed.err + printed.out


@pytest.mark.parametrize(
    "typed",
    [
        "trian experiments/textures/trial.yaml",
        "train experiments/textures/trial.yaml --fast-dev",
        "train experiments/textures/trail.yaml",
        "train experiments/textures/trial.yaml trainer.max_step=3",
        "sweep experiments/textures/sweep.yaml search.algorithm=optima",
        "data cheque folder",
    ],
)
def test_a_typo_would_be_found(typed: str) -> None:
    with pytest.raises((AssertionError, InputError, typer.BadParameter.__mro__[1])):
        read(typed.split())


def test_each_reason_not_to_run_a_command_is_needed_and_leads_somewhere() -> None:
    needed = set().union(*(_not_run(_arguments(command)) for command in _every("launch.py")))
    assert needed == {*NOT_RUN, *NOT_RUN_WITH}
    for reason in (*NOT_RUN.values(), *NOT_RUN_WITH.values()):
        (path,) = re.findall(r"(?:tests|docs)/\S+\.(?:py|md)", reason)
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("command", _every("python"), ids=_name)
def test_a_script(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *arguments = command.words[2:] if command.words[1] == "-m" else command.words[1:]
    script = ROOT / (f"{module.replace('.', '/')}.py" if command.words[1] == "-m" else module)
    assert script.is_file()
    if script.parent.name == "docs":
        return  # run by tests/docs/test_tutorial.py
    monkeypatch.chdir(tmp_path)
    (tmp_path / "REPORT.json").write_text("{}")
    monkeypatch.setattr("sys.argv", [str(script), *arguments])
    with only_parsing() as seen:
        importlib.import_module(".".join(script.relative_to(ROOT).with_suffix("").parts)).main()
    assert seen


@pytest.mark.parametrize("program", ["mlflow", "ray"])
def test_a_program_that_comes_with_essnet(program: str) -> None:
    module, name = {"mlflow": ("mlflow.cli", "cli"), "ray": ("ray.scripts.scripts", "cli")}[program]
    found = _every(program)
    assert found
    with warnings.catch_warnings(action="ignore"):  # their own, on import
        commands = getattr(importlib.import_module(module), name)
    for command in found:
        parse(commands, [word for word in command.words[1:] if word != "..."])


def test_a_target_of_make() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = _every("make")
    assert found
    assert [_name(command) for command in found if not set(command.words[1:]) <= set(targets)] == []


def test_every_program_is_known_and_files_of_ours_are_there() -> None:
    known = OTHERS | {"launch.py", "python", "mlflow", "ray", "make"}
    for page in PAGES:
        for command in commands(page):
            assert _program(command) in known, f"{_name(command)}: add what {command.words[0]} is to this file"
            for word in command.words:
                if re.match(r"(benchmarks|cluster|container|docs|experiments)/\S+\.\w+$", word):
                    assert (ROOT / word).is_file(), f"{_name(command)}: {word}"


def test_every_option_in_a_sentence_is_one() -> None:
    """Of essnet, or of MLflow's server, Slurm and a benchmark."""

    def options(command: Any) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        return own.union(*map(options, getattr(command, "commands", {}).values()))

    others = {"--help", "--allowed-hosts", "--artifacts-destination", "--app-name", "--signal", "--nodes"}
    known = options(typer.main.get_command(app.app)) | others
    unknown = [
        f"{where} {text}"
        for page in PAGES
        if page.name != "paper.md"  # the original code's: tests/test_paper_page.py
        for where, text in spans(page)
        for option in re.findall(r"^--[a-z][a-z-]*(?![\w-])", text)
        if option not in known
    ]
    assert unknown == []

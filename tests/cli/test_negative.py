"""Wrong input: exit code 2, one line that says what is wrong and what would be right, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from essnet.cli.app import main
from tests.cli.workplace import make_workplace, tree

# What train and sweep are told alike: the override, and words of the answer.
OVERRIDES: list[tuple[str, list[str]]] = [
    ("objective.num_neighbors=3", ["objective.num_neighbors: unknown key; did you mean objective.num_neighbours?"]),
    ("traner.max_steps=3", ["unknown key; did you mean trainer?"]),
    ("trainer.max_steps=-1", ["trainer.max_steps: found -1; expected greater than or equal to 1"]),
    ("trainer.max_steps=many", ["trainer.max_steps: found 'many'; expected a valid integer"]),
    ("trainer.max_steps=true", ["trainer.max_steps: found True; expected a valid integer"]),
    ("optimizer.lr=.nan", ["optimizer.lr: found nan; expected a finite number"]),
    ("optimizer.lr=true", ["optimizer.lr: found True; expected a valid number"]),
    ("name=../up", ["name: found '../up'", "letters, digits"]),
    ("foo", ["foo: expected key=value"]),
    ("trainer.max_steps=[1", ["trainer.max_steps=[1, line 1: "]),
    ("evaluation.split=tset", ["evaluation.split: found 'tset'; one of 'train', 'val' or 'test'"]),
    ("data.name=texture", ["data.name: found 'texture'; did you mean textures?"]),
    ("data.crop_size=33", ["data.crop_size=33 must be divisible by 16", "nearest is 32"]),
    ("trainer.batch_size=1", ["trainer.batch_size: found 1; deeplabv3plus normalises over the images of a batch"]),
    ("trainer.device=gpu", ["trainer.device: found 'gpu'; one of auto, cpu, cuda"]),
    ("trainer.device=cuda:77", ["trainer.device: found 'cuda:77', but torch sees"]),
    ("model.encoder=resnet5", ["model.encoder=resnet5: unknown encoder; did you mean resnet50"]),
    ("model.encoder=tu-test_resnot", ["unknown encoder; did you mean tu-test_resnet"]),
    ("model.architecture=deeplab", ["unknown architecture; did you mean deeplabv3, deeplabv3plus?"]),
    (
        "model.encoder_weights=gone.pt",
        ["model.encoder_weights=", "gone.pt: no such file; it takes none, imagenet, package:"],
    ),
    ("model.encoder_weights=weights.pt", ["model.encoder_weights=", "weights.pt: not a readable file of tensors"]),
    ("model.encoder_weights=package:foo", ["package:foo: unknown; known are package:efficientnet-lite0"]),
    (
        "model.encoder_weights=package:efficientnet-lite0",
        ["these belong to model.encoder=tu-tf_efficientnet_lite0, not to tu-test_resnet"],
    ),
    ("data={name: folder, root: gone}", ["/gone: no such folder; data.root must hold images/, masks/ and classes.txt"]),
    ("data={name: folder, root: folder}", ["/folder/", "data.root"]),
    ("data={name: folder, root: file}", ["/file: no such folder"]),
    ("data={name: folder, root: bad-mask, crop_size: 32}", ["/masks/train/001.png: mask has id 77", "ids 0 to 3"]),
    ("data={name: folder}", ["data.root: is missing"]),
]
EITHER = [
    (f"{command}-{override}", [command, file, override], words)
    for override, words in OVERRIDES
    for command, file in (("train", "t.yaml"), ("sweep", "s.yaml"))
]
# No file of a configuration, whatever it is wanted for.
FILES: list[tuple[str, list[str]]] = [
    ("gone.yaml", ["gone.yaml: no such file"]),
    ("empty.yaml", ["empty.yaml: is empty; expected a YAML mapping"]),
    ("list.yaml", ["list.yaml: expected a mapping (key: value), found list"]),
    ("binary.yaml", ["binary.yaml: not a text file in UTF-8"]),
    ("folder", ["folder: is a folder; expected a YAML file"]),
    ("twice.yaml", ["twice.yaml, line 7: the key 'name' stands twice"]),
    ("x" * 300, ["cannot be read (File name too long)"]),
]
WRONG_FILES = [
    (f"{'-'.join(command)}-{file[:12]}", [command[0], file, *command[1:]], words)
    for file, words in FILES
    for command in (["train"], ["sweep"], ["sweep", "--dry-run"])
]
NO_CHECKPOINTS: list[tuple[str, list[str]]] = [
    ("gone", ["gone: no such checkpoint"]),
    ("folder", ["folder: is no checkpoint", "model.safetensors", "missing"]),
    ("file", ["file: is no checkpoint"]),
    ("no-weights", ["no-weights: is no checkpoint (model.safetensors missing)"]),
    ("truncated", ["truncated/model.safetensors: damaged"]),
    ("bad-config", ["bad-config/config.yaml, line 1: "]),
    ("bad-classes", ["bad-classes/classes.json: damaged"]),
    ("other-weights", ["other-weights", "do not fit"]),
]
CHECKPOINTS = [
    (f"{command[0]}-{name}", [command[0], name, *command[1:]], words)
    for name, words in NO_CHECKPOINTS
    for command in (["evaluate"], ["predict", "ok.png"])
]
OTHERS: list[tuple[str, list[str], list[str]]] = [
    ("unknown-command", ["trian"], ["No such command 'trian'", "'train'"]),
    ("unknown-option", ["train", "t.yaml", "--resum"], ["No such option: --resum", "--resume"]),
    ("option-without-value", ["train", "t.yaml", "--output"], ["--output", "requires an argument"]),
    *[
        (f"{name}-missing", [name], ["Missing argument"])
        for name in ("train", "sweep", "report", "evaluate", "predict")
    ],
    ("predict-no-image", ["predict", "ck"], ["Missing argument 'IMAGE...'"]),
    ("doctor-argument", ["doctor", "x"], ["unexpected extra argument"]),
    ("ui-argument", ["ui", "x"], ["unexpected extra argument"]),
    # Files of the other kind, and faults of their own.
    ("train-sweep-file", ["train", "s.yaml"], ["s.yaml: is a sweep (it has arms); run it with `launch.py sweep`"]),
    ("sweep-trial-file", ["sweep", "t.yaml"], ["t.yaml: is a trial (it has no arms); run it with `launch.py train`"]),
    ("sweep-dry-trial-file", ["sweep", "t.yaml", "--dry-run"], ["t.yaml: is a trial", "launch.py train"]),
    (
        "train-misspelt",
        ["train", "misspelt.yaml"],
        ["misspelt.yaml: objective.num_neighbors: unknown key; did you mean"],
    ),
    (
        "sweep-misspelt",
        ["sweep", "misspelt-arm.yaml"],
        ["misspelt-arm.yaml: arms.knn: objective.num_neighbors: unknown"],
    ),
    (
        "sweep-dry-float16",
        ["sweep", "s.yaml", "--dry-run", "trainer.precision=float16", "trainer.device=auto", "resources.gpus=0"],
        ["trainer.precision: found float16, which needs a GPU, and the trial runs on cpu; take bfloat16 or float32"],
    ),
    ("sweep-dry-device", ["sweep", "s.yaml", "--dry-run", "trainer.device=cuda:77"], ["trainer.device: found"]),
    ("sweep-dry-misspelt", ["sweep", "misspelt-arm.yaml", "--dry-run"], ["arms.knn: objective.num_neighbors: unknown"]),
    ("train-misspelt-folder", ["train", "folder/t.yaml"], ["folder/t.yaml: no such file"]),
    (
        "sweep-endless-grid",
        ["sweep", "endless.yaml", "--dry-run"],
        ["arms.knn.optimizer.lr: a float range has no grid"],
    ),
    (
        "sweep-block",
        ["sweep", "s.yaml", "serch.algorithm=grid"],
        ["serch.algorithm: unknown key; did you mean search?"],
    ),
    ("sweep-few-trials", ["sweep", "s.yaml", "search.algorithm=random"], ["num_trials: is missing"]),
    ("sweep-reserved-name", ["sweep", "s.yaml", "name=train"], ["name: found 'train'"]),
    ("twice", ["train", "t.yaml", "seed=1", "seed=2"], ["seed: given twice on the command line"]),
    # What is there already, and what is not.
    ("sweep-exists", ["sweep", "s.yaml", "--output", "used"], ["used/s: this sweep exists; go on with --resume"]),
    (
        "train-resume-nothing",
        ["train", "t.yaml", "--resume"],
        ["--resume: there is no run in runs/train/tiny to go on with"],
    ),
    (
        "train-resume-damaged",
        ["train", "t.yaml", "--fast-dev-run", "--resume", "--output", "bad-last"],
        ["trainer.pt: damaged"],
    ),
    ("report-unknown", ["report", "textres", "--output", "used"], ["textres: no such sweep; did you mean textures?"]),
    ("report-none", ["report", "textures"], ["textures: no such sweep; there is no sweep in runs"]),
    ("report-no-sweep", ["report", "folder"], ["folder: no such sweep"]),
    ("report-format", ["report", "textures", "--format", "xml"], ["--format", "xml", "terminal", "json", "csv"]),
    ("ui-no-store", ["ui"], ["runs/mlflow.db: no such store"]),
    ("ui-port", ["ui", "--port", "99999"], ["--port", "65535"]),
    ("ui-port-word", ["ui", "--port", "high"], ["--port", "integer"]),
    # Where it shall be written.
    (
        "train-output",
        ["train", "t.yaml", "--output", "file"],
        ["--output: cannot write below", "/file, which is a file"],
    ),
    ("train-output-below", ["train", "t.yaml", "--output", "file/x"], ["/file, which is a file"]),
    ("sweep-output", ["sweep", "s.yaml", "--output", "file"], ["file"]),
    ("train-output-long", ["train", "t.yaml", "--output", "x" * 300], ["File name too long"]),
    ("evaluate-long", ["evaluate", "x" * 300], ["File name too long"]),
    ("report-long", ["report", "x" * 300], ["File name too long"]),
    ("predict-output", ["predict", "ck", "ok.png", "--output", "file"], ["/file, which is a file"]),
    ("train-store", ["train", "t.yaml", "tracking.uri=foo://bar"], ["tracking.uri: foo://bar"]),
    # A checkpoint that is good, with other things that are not.
    ("evaluate-model", ["evaluate", "ck", "model.encoder=resnet18"], ["model and objective are the checkpoint's own"]),
    ("evaluate-key", ["evaluate", "ck", "evaluation.splt=test"], ["evaluation.splt: unknown key; did you mean"]),
    ("evaluate-device", ["evaluate", "ck", "trainer.device=cuda:77"], ["trainer.device: found 'cuda:77'"]),
    ("evaluate-root", ["evaluate", "ck", "data={name: folder, root: gone}"], ["/gone: no such folder"]),
    ("predict-no-image-file", ["predict", "ck", "gone.png"], ["gone.png"]),
    ("predict-words", ["predict", "ck", "words.png"], ["words.png"]),
    ("predict-yaml", ["predict", "ck", "t.yaml"], ["t.yaml"]),
    ("predict-folder", ["predict", "ck", "folder"], ["folder"]),
    ("predict-second-bad", ["predict", "ck", "ok.png", "words.png"], ["words.png"]),
    (
        "predict-same-stem",
        ["predict", "ck", "ok.png", "folder/ok.jpg"],
        ["folder/ok.jpg: its result ok.png would overwrite"],
    ),
    ("predict-overlay-stem", ["predict", "ck", "ok.png", "ok_overlay.png"], ["result ok_overlay.png would overwrite"]),
    ("predict-over-image", ["predict", "ck", "ok.png", "--output", "."], ["would overwrite the image ok.png"]),
    ("predict-device", ["predict", "ck", "ok.png", "--device", "cuda:77"], ["--device: found 'cuda:77'"]),
]
TABLE = [*OTHERS, *EITHER, *WRONG_FILES, *CHECKPOINTS]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture(autouse=True)
def _here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code


@pytest.mark.parametrize(("arguments", "words"), [pytest.param(*case[1:], id=case[0]) for case in TABLE])
def test_wrong_input(
    arguments: Sequence[str], words: Sequence[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(workplace)
    code = run(*arguments)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("essnet: ")
    assert [word for word in words if word not in lines[0]] == [], lines[0]
    assert "Error:" not in lines[0]  # the name of an exception is no answer
    assert code == 2
    assert tree(workplace) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "t.yaml", "data={name: folder, root: five-classes, num_classes: 9}"], ["found 9", "names 5"]),
        (["evaluate", "ck", "data={name: folder, root: five-classes}"], ["5 classes", "ck has 4"]),
    ],
)
def test_of_a_sound_data_set_at_most_its_scan_is_kept(
    arguments: Sequence[str], words: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--output", str(tmp_path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert [word for word in words if word not in line] == [], line
    assert [name for name in tree(tmp_path) if not name.startswith("cache")] == []


def test_debug_shows_the_traceback(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(workplace)
    assert run("train", "gone.yaml", "--debug") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "essnet: gone.yaml: no such file"
    assert tree(workplace) == before


def test_dry_run_starts_and_leaves_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(workplace)
    assert run("sweep", "s.yaml", "--dry-run", "--json", "resources.gpus=0", "resources.cpus=1") == 0
    output = capsys.readouterr()
    result: dict[str, Any] = json.loads(output.out)
    assert result == {"sweep": "s", "trials": 3, "arms": {"full": 1, "knn": 2}}
    assert "objective.num_neighbours in {1, 2}" in output.err
    assert tree(workplace) == before


def test_a_damaged_trainer_state_does_not_matter_for_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", "bad-trainer", "ok.png", "--device", "cpu", "--output", str(tmp_path / "out"), "--json") == 0
    (written,) = json.loads(capsys.readouterr().out)["outputs"]
    assert Path(written["labels"]).is_file()
    assert Path(written["overlay"]).is_file()


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    output = capsys.readouterr()
    assert "Usage:" in output.out
    assert output.err == ""

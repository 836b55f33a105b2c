"""The benchmark of the objectives: that it compares like with like, and says what it measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks import implementations, measurement
from benchmarks.implementations import IMPLEMENTATIONS, Implementation, build, bytes_needed, why_not
from benchmarks.measurement import extra_memory_alone_mib, percentiles, seconds_of_rounds
from benchmarks.objectives import main
from benchmarks.objectives_plot import save_plot
from benchmarks.problem import Problem, draw_inputs, label_size
from benchmarks.records import records, table
from essnet.neighbours import SIMILARITIES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "objectives.py"

PROBLEM = Problem(
    num_classes=40,
    pixels=1024,
    embedding_dim=6,
    num_neighbours=3,
    num_random=16,
    similarity="l2",
    seed=3,
    device="cpu",
)

ON_A_CPU = [name for name in IMPLEMENTATIONS if name not in ("cut_cross_entropy", "liger")]


def loss_and_gradients(name: str, problem: Problem) -> dict[str, torch.Tensor]:
    implementation = build(name, problem, draw_inputs(problem))
    loss = implementation.loss()
    loss.backward()
    found = {"loss": loss.detach()}
    for key, tensor in implementation.differentiated.items():
        assert tensor.grad is not None, f"{name}: no gradient for {key}"
        found[key] = tensor.grad
    return found


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys() == {"loss", "features", "class_embeddings", *CONVOLUTION}
    for key, value in ours.items():
        assert value.abs().max() > 1e-7, f"{key} says nothing"
        torch.testing.assert_close(value, theirs[key], rtol=1e-4, atol=1e-4 * float(value.abs().max()), msg=key)


CONVOLUTION = ("convolution.weight", "convolution.bias")


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_gathered_neighbours_are_the_same_loss_as_ours(similarity: str) -> None:
    problem = replace(PROBLEM, similarity=similarity)
    assert_same(loss_and_gradients("knn_softmax", problem), loss_and_gradients("knn_gathered", problem))


def test_gathering_all_classes_is_the_exact_loss() -> None:
    problem = replace(PROBLEM, num_neighbours=PROBLEM.num_classes + 5)
    assert_same(loss_and_gradients("embedding_softmax", problem), loss_and_gradients("knn_gathered", problem))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_linear_cross_entropy_is_the_same_loss_as_ours(similarity: str) -> None:
    problem = replace(PROBLEM, similarity=similarity)
    assert_same(loss_and_gradients("embedding_softmax", problem), loss_and_gradients("linear_cross_entropy", problem))


def test_linear_cross_entropy_takes_the_cosine_form_where_ours_is_l2() -> None:
    cosine = loss_and_gradients("linear_cross_entropy", replace(PROBLEM, similarity="cosine"))
    assert_same(loss_and_gradients("linear_cross_entropy", PROBLEM), cosine)


def test_the_full_softmax_has_its_gradients_too() -> None:
    found = loss_and_gradients("full_softmax", PROBLEM)
    assert found.keys() == {"loss", "features", *CONVOLUTION}
    assert found["convolution.weight"].shape[0] == PROBLEM.num_classes


def test_the_floor_is_every_product_and_its_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    rows_at_once = 300
    monkeypatch.setitem(implementations.FLOOR_BYTES, "cpu", rows_at_once * 4 * PROBLEM.num_classes)
    inputs = draw_inputs(PROBLEM)
    floor = build("floor", PROBLEM, inputs)
    held = floor.loss()

    weights = build("embedding_softmax", replace(PROBLEM, similarity="cosine"), inputs).differentiated
    embeddings = F.conv2d(inputs.features, weights["convolution.weight"], weights["convolution.bias"])
    embeddings = F.interpolate(F.normalize(embeddings, dim=1), scale_factor=4, mode="bilinear")
    pixels = embeddings.permute(0, 2, 3, 1).reshape(PROBLEM.pixels, -1)
    expected = (pixels @ F.normalize(weights["class_embeddings"], dim=1).t()).exp()

    assert not held.requires_grad
    assert len(held) == PROBLEM.pixels % rows_at_once
    torch.testing.assert_close(held, expected[-len(held) :])


def test_inputs_are_what_a_decoder_hands_on() -> None:
    inputs = draw_inputs(PROBLEM)
    assert inputs.features.shape == (1, 256, 8, 8)
    assert inputs.features.is_contiguous(memory_format=torch.channels_last)
    assert inputs.features.requires_grad
    assert inputs.targets.shape == (1, 32, 32)
    assert inputs.targets.unique().tolist() == list(range(PROBLEM.num_classes))
    assert torch.equal(inputs.features, draw_inputs(PROBLEM).features)


@pytest.mark.parametrize(
    ("pixels", "size"), [(65536, (256, 256)), (16, (4, 4)), (1024, (32, 32)), (96, (8, 12)), (16 * 7, (4, 28))]
)
def test_label_size(pixels: int, size: tuple[int, int]) -> None:
    assert label_size(pixels) == size


def test_rounds_take_turns_and_forget_gradients() -> None:
    weight = torch.ones(1, requires_grad=True)
    taken: list[str] = []

    def implementation(name: str) -> Implementation:
        def loss() -> torch.Tensor:
            assert weight.grad is None
            taken.append(name)
            return 2 * weight.sum()

        return Implementation(loss=loss, differentiated={"weight": weight})

    seconds = seconds_of_rounds({name: implementation(name) for name in "ABC"}, rounds=7, device=torch.device("cpu"))
    assert "".join(taken) == "AABBCC" + 7 * "ABC"
    assert {name: len(values) for name, values in seconds.items()} == {"A": 7, "B": 7, "C": 7}
    assert weight.grad is not None
    assert weight.grad.item() == 2


def test_percentiles() -> None:
    assert percentiles([5.0, 1.0, 4.0, 2.0, 3.0, 6.0]) == pytest.approx({"p20": 2.0, "p50": 3.5, "p80": 5.0})


def some_records(names: list[str]) -> list[dict[str, Any]]:
    seconds = {"full_softmax": 0.4, "knn_softmax": 0.1, "floor": 0.02}
    return records(
        PROBLEM,
        seconds={name: 7 * [seconds[name]] for name in names},
        extra_memory_mib={name: 12.0 for name in names},
        environment={"device": "cpu"},
    )


def test_ratios_are_to_the_medians_of_full_and_floor() -> None:
    found = {record["implementation"]: record for record in some_records(["full_softmax", "knn_softmax", "floor"])}
    assert found["knn_softmax"]["ratio_to_full"] == pytest.approx(4.0)
    assert found["knn_softmax"]["ratio_to_floor"] == pytest.approx(5.0)
    assert found["full_softmax"]["ratio_to_full"] == found["floor"]["ratio_to_floor"] == 1.0


def test_ratios_to_what_was_not_run_are_null() -> None:
    (record,) = some_records(["knn_softmax"])
    assert record["ratio_to_full"] is None
    assert record["ratio_to_floor"] is None
    row = next(line for line in table(PROBLEM, [record], left_out={}).splitlines() if "knn_softmax" in line)
    assert row.split() == ["knn_softmax", "100", "(100", "-", "100)", "-", "-", "12"]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_what_cannot_run_says_why(name: str) -> None:
    reason = why_not(name, replace(PROBLEM, num_random=PROBLEM.num_classes))
    reasons = {
        "sampled_softmax": "40 random classes of 40 are all: see embedding_softmax",
        "cut_cross_entropy": "needs a CUDA device",
        "liger": "needs a CUDA device",
    }
    assert reason == reasons.get(name)
    assert why_not("sampled_softmax", PROBLEM) is None


@pytest.mark.parametrize(("name", "package"), [("cut_cross_entropy", "cut_cross_entropy"), ("liger", "liger_kernel")])
def test_a_library_that_is_not_installed_is_left_out(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "find_spec", lambda _: None)
    assert why_not(name, replace(PROBLEM, device="cuda")) == f"the package {package} is not installed"


def test_what_does_not_fit_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--num-classes", "100000000", "--implementations", "full_softmax"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if "full_softmax" in line)
    assert re.fullmatch(r" *full_softmax +left out: needs some 97,656.2 GiB .*, and [\d,.]+ GiB are available", row)
    assert one_line(printed.err).startswith("nothing of what was asked for can be measured")


def one_line(stderr: str) -> str:
    """The message of the one line on standard error, without the program's name."""
    assert stderr.count("\n") == 1
    return stderr.strip().partition(": ")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--implementations", "floor", "softmax"], "--implementations softmax: unknown; choose from full_softmax,"),
        (["--rounds", "6"], "--rounds 6: must be at least 7"),
        (["--num-classes", "19", "1"], "--num-classes 1: must be at least 2"),
        (["--num-neighbours", "0"], "--num-neighbours 0: must be at least 1"),
        (["--embedding-dim", "-3"], "--embedding-dim -3: must be at least 1"),
        (["--num-random", "0"], "--num-random 0: must be at least 1"),
        (["--threads", "0"], "--threads 0: must be at least 1"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--pixels", "1000"], "--pixels 1000: must be a positive multiple of 16, with features at stride 4; try 992"),
        (["--pixels", "0"], "--pixels 0: must be a positive multiple of 16, with features at stride 4; try 16"),
        (["--similarity", "l1"], "argument --similarity: invalid choice: 'l1'"),
        (["--rounds", "many"], "argument --rounds: invalid int value: 'many'"),
        (["--device", "tpu"], "--device tpu: unknown; choose cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "--device cuda:99: torch sees "),
        (["--plot", "figure.txt"], "--plot figure.txt: the file's name must end in one of .png, .svg, .pdf"),
        (["--json", str(ROOT)], f"--json {ROOT}: is a folder; name a file"),
        (["--json", str(SCRIPT / "x" / "y.json")], f"--json {SCRIPT}/x/y.json: its folder cannot be made"),
        (["--round", "7"], "unrecognized arguments: --round 7"),
        (["--implementations", "liger"], "nothing of what was asked for can be measured"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert one_line(capsys.readouterr().err).startswith(message)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure_shows_every_implementation(tmp_path: Path, suffix: str) -> None:
    (one,) = some_records(["knn_softmax"])
    drawn = [
        {**one, "implementation": name, "num_classes": classes, "extra_memory_mib": memory}
        for name in IMPLEMENTATIONS
        for classes, memory in ((19, 3.0), (150, None), (1284, 0.0))
    ]
    path = tmp_path / "new" / f"figure.{suffix}"
    save_plot(drawn, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    written = path.read_bytes()
    if suffix == "png":
        assert written.startswith(b"\x89PNG")
    else:
        # each line of text is a comment in front of its outlines
        texts = re.findall(r"<!-- (.*?) -->", written.decode())
        assert {*IMPLEMENTATIONS, "19", "150", "1,284", "forward and backward (ms)", "extra memory (MiB)"} <= {*texts}


@pytest.mark.slow
def test_memory_is_that_of_one_step_in_a_fresh_process() -> None:
    problem = replace(PROBLEM, num_classes=512, pixels=16384)
    logits_mib = problem.pixels * problem.num_classes * 4 / 2**20
    full = extra_memory_alone_mib("full_softmax", problem, threads=1)
    ours = extra_memory_alone_mib("embedding_softmax", problem, threads=1)
    assert full is not None
    assert ours is not None
    assert 3 * logits_mib < full < bytes_needed("full_softmax", problem) / 2**20
    assert 256 * problem.pixels / 16 * 4 / 2**20 < ours < logits_mib


@pytest.mark.slow
def test_a_killed_process_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "extra_memory_of_step_mib", _die)
    assert extra_memory_alone_mib("floor", PROBLEM, threads=1) is None


def _die(name: str, problem: Problem, *, threads: int) -> float:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


@pytest.mark.slow
def test_the_script_from_another_folder(tmp_path: Path) -> None:
    arguments = "--num-classes 19 40 --pixels 1024 --embedding-dim 6 --num-neighbours 3 --num-random 32 --threads 1"
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments.split(), "--json", "new/out.json", "--plot", "out.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["C = 19", "C = 40"]
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "out.json", "out.png"]

    found = json.loads((tmp_path / "new" / "out.json").read_text())
    of_19 = [name for name in ON_A_CPU if name != "sampled_softmax"]
    assert [(record["num_classes"], record["implementation"]) for record in found] == [
        *((19, name) for name in of_19),
        *((40, name) for name in ON_A_CPU),
    ]
    for record in found:
        assert_complete(record, [other for other in found if other["num_classes"] == record["num_classes"]])
        lines = blocks(done.stdout)[record["num_classes"]]
        row = next(line for line in lines if line.split()[0] == record["implementation"])
        assert f"{1000 * record['seconds']['p50']:.1f} (" in row
    left_out = [line.split(":")[0].split()[0] for line in blocks(done.stdout)[19] if "left out" in line]
    assert left_out == ["sampled_softmax", "cut_cross_entropy", "liger"]


def blocks(stdout: str) -> dict[int, list[str]]:
    """The tables of a run, by number of classes."""
    found = [part.splitlines() for part in stdout.split("\n\n") if part.startswith("C = ")]
    return {int(lines[0].partition(":")[0].removeprefix("C = ")): lines for lines in found}


def assert_complete(record: dict[str, Any], beside: list[dict[str, Any]]) -> None:
    assert record.keys() == {
        "implementation",
        "num_classes",
        "embedding_dim",
        "num_neighbours",
        "num_random",
        "similarity",
        "pixels",
        "rounds",
        "seconds",
        "ratio_to_full",
        "ratio_to_floor",
        "extra_memory_mib",
        "environment",
    }
    settings = ("embedding_dim", "num_neighbours", "num_random", "similarity", "pixels", "rounds")
    assert [record[name] for name in settings] == [6, 3, 32, "l2", 1024, 7]
    seconds = record["seconds"]
    assert 0 < seconds["p20"] <= seconds["p50"] <= seconds["p80"]
    median = {other["implementation"]: other["seconds"]["p50"] for other in beside}
    assert record["ratio_to_full"] == pytest.approx(median["full_softmax"] / seconds["p50"])
    assert record["ratio_to_floor"] == pytest.approx(seconds["p50"] / median["floor"])
    assert 0 <= record["extra_memory_mib"] < 200
    environment = record["environment"]
    assert environment.keys() == {"processor", "device", "accelerator", "threads", "versions"}
    assert environment["processor"]
    assert (environment["device"], environment["accelerator"], environment["threads"]) == ("cpu", None, 1)
    assert environment["versions"].keys() == {"python", "essnet", "torch", "numpy", "faiss", "numba"}
    assert environment["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


@pytest.mark.slow
def test_as_a_module() -> None:
    arguments = "--num-classes 20 --pixels 256 --implementations floor --threads 1"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.objectives", *arguments.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    row = blocks(done.stdout)[20][-1].split()
    assert row[0] == "floor"
    assert row[-2] == "1.0"

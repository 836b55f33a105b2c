"""`launch.py data build-coco-lvis` as people and scripts meet it: results, wrong input, interrupted, killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from essnet.cli.app import main
from tests.coco_lvis.generated import SOURCES, Sources, arguments, overlapping
from tests.coco_lvis.oracle import Json

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(command)
    assert isinstance(exited.value.code, int)
    return exited.value.code


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = overlapping(1).write(tmp_path)
    few = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a", "frequency": "r"}]}
    (root / "small_lvis.json").write_text(json.dumps(few))
    return root


def test_the_result_is_one_line_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*arguments(folder), "--workers", "0", "--json"]
    assert run(*command) == 0
    output = capsys.readouterr()
    first = json.loads(output.out)
    assert output.out.count("\n") == 1
    assert (first["written"], first["skipped"], first["without_annotations"], first["missing_images"]) == (12, 0, 0, 0)
    assert first["classes_present"] > 10
    assert first["images_per_second"] > 0
    assert first["splits"]["train"]["written"] == 6
    assert "train: 6 masks, 6 written now; images left out: none" in output.err
    assert run(*command, "--verify") == 0
    second = json.loads(capsys.readouterr().out)
    assert (second["written"], second["skipped"], second["verified"], second["differing"]) == (0, 12, 12, [])


def test_people_are_told_what_is_bad(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "lvis_train.json"
    content = json.loads(path.read_text())
    for number in range(7):
        content["annotations"].append({"id": 900 + number, "image_id": 16, "category_id": 5, "segmentation": [[1, 1]]})
    path.write_text(json.dumps(content))
    (folder / "images/train2017/000000000016.jpg").rename(folder / "elsewhere.jpg")
    assert run(*arguments(folder), "--workers", "0") == 0
    told = capsys.readouterr().out
    assert "images left out: 1 without image file (such as train2017/000000000016.jpg)" in told
    (folder / "elsewhere.jpg").rename(folder / "images/train2017/000000000016.jpg")
    assert run(*arguments(folder), "--workers", "0") == 0
    told = capsys.readouterr().out
    assert "lvis_train: 7 annotations under three points: 900, 901, 902, 903, 904, ..." in told


def test_a_mask_that_differs_fails_the_verification(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*arguments(folder), "--workers", "0", "--verify", "--json"]
    assert run(*command) == 0
    journal = folder / "out/masks/val/masks.jsonl"
    masks = sorted((folder / "out/masks/val").glob("*.png"))
    # A mask in the place of another, and a journal that says so: only a look at the annotations can tell.
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    masks[0].write_bytes(masks[1].read_bytes())
    rows[0].update(size=rows[1]["size"], crc32=rows[1]["crc32"])
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    assert run(*command) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["differing"] == [str(masks[0])]
    assert f"{masks[0]}: is not what its annotations say" in output.err
    assert "1 mask differs; delete it and run the same command again" in output.err


def without(*options: str) -> Callable[[Path, list[str]], list[str]]:
    def change(_: Path, command: list[str]) -> list[str]:
        kept = list(command)
        for option in options:
            index = kept.index(option)
            del kept[index : index + 2]
        return kept

    return change


def with_value(option: str, value: str) -> Callable[[Path, list[str]], list[str]]:
    def change(folder: Path, command: list[str]) -> list[str]:
        index = command.index(option)
        return [*command[: index + 1], value.replace("FOLDER", str(folder)), *command[index + 2 :]]

    return change


def with_file(name: str, damage: Callable[[bytes], bytes]) -> Callable[[Path, list[str]], list[str]]:
    def change(folder: Path, command: list[str]) -> list[str]:
        path = folder / f"{name}.json"
        path.write_bytes(damage(path.read_bytes()))
        return command

    return change


def with_url(url: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        rows: Json = json.loads(content)
        rows["images"][0]["coco_url"] = url
        return json.dumps(rows).encode()

    return change


def already_built(folder: Path, command: list[str]) -> list[str]:
    assert run(*command) == 0
    path = folder / "stuff_train.json"
    path.write_bytes(path.read_bytes() + b"\n")
    return command


WRONG: dict[str, tuple[Callable[[Path, list[str]], list[str]], list[str]]] = {
    "no LVIS file": (without("--lvis-train", "--lvis-val"), ["--lvis-train, --lvis-val: give at least one of them"]),
    "no images": (without("--images"), ["Missing option '--images'"]),
    "train without stuff": (
        without("--lvis-val", "--stuff-train", "--stuff-val"),
        ["--stuff-train: is missing; --lvis-train needs it"],
    ),
    "val without train's stuff": (
        without("--lvis-train", "--stuff-train"),
        ["--stuff-train: is missing; --lvis-val needs it; LVIS val has images of COCO's train2017"],
    ),
    "val without val's stuff": (
        without("--lvis-train", "--stuff-val"),
        ["--stuff-val: is missing; --lvis-val needs it"],
    ),
    "images gone": (with_value("--images", "FOLDER/gone"), ["--images: ", "gone is no folder", "train2017/"]),
    "images a file": (with_value("--images", "FOLDER/lvis_val.json"), ["lvis_val.json is no folder"]),
    "other images": (with_value("--images", "FOLDER/images/val2017"), ["has none of the 6 images of lvis_train.json"]),
    "file gone": (with_value("--stuff-val", "FOLDER/gone.json"), ["--stuff-val: ", "gone.json: no such file"]),
    "file a folder": (with_value("--lvis-train", "FOLDER/images"), ["--lvis-train: ", "images: is a folder"]),
    "files swapped": (
        with_value("--lvis-train", "FOLDER/stuff_train.json"),
        ["stuff_train.json: has 92 categories, without id 1; expected LVIS v1's ids 1 to 1203"],
    ),
    "files swapped the other way": (
        with_value("--stuff-train", "FOLDER/small_lvis.json"),
        ["small_lvis.json: has 1 categories, without id 92; expected COCO-Stuff's ids 92 to 182"],
    ),
    "a name too long": (with_value("--lvis-val", "x" * 300), ["File name too long"]),
    "output a file": (with_value("--output", "FOLDER/lvis_val.json"), ["--output: cannot write below", "is a file"]),
    "output below a file": (with_value("--output", "FOLDER/lvis_val.json/x"), ["--output: cannot write below"]),
    "empty file": (with_file("lvis_train", lambda _: b""), ["--lvis-train: ", "lvis_train.json: is empty"]),
    "cut file": (with_file("stuff_val", lambda content: content[:-9]), ["stuff_val.json: is cut off", "get the file"]),
    "no JSON": (with_file("lvis_val", lambda _: b"<html>"), ["lvis_val.json: is no JSON"]),
    "other JSON": (with_file("lvis_val", lambda _: b"{}"), ["lvis_val.json: has another layout than LVIS v1 and COCO"]),
    "traversal": (
        with_file("lvis_train", with_url("http://images.cocodataset.org/train2017/../../../etc/000000000016.jpg")),
        ["lvis_train.json: image 16 has coco_url", "expected one that ends in a folder and 000000000016.jpg"],
    ),
    "another file than before": (
        already_built,
        ["out: was built from another --stuff-train", "choose another --output, or delete this one"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = WRONG[name]
    command = change(folder, [*arguments(folder), "--workers", "0"])
    before = tree(folder)
    capsys.readouterr()
    assert run(*command) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("essnet: ")
    assert [word for word in words if word not in lines[0]] == [], lines[0]
    assert tree(folder) == before


def test_an_output_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (folder / "fixed").mkdir(mode=0o500)
    assert run(*arguments(folder, "fixed/out"), "--workers", "0") == 2
    assert "cannot be written; choose another folder" in capsys.readouterr().err


def test_a_number_of_workers_below_zero(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments(folder), "--workers", "-1") == 2
    assert "--workers" in capsys.readouterr().err


# Killed and interrupted: with files that take some seconds.


NUM_IMAGES = 2000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some thousand images, and the finished build of an undisturbed run in `undisturbed`."""
    pattern = overlapping(3, num_images=20, per_image=8, size=150)
    sources = Sources()
    for number in range(NUM_IMAGES):
        split = ("train", "val")[number % 2]
        rows = pattern.files[f"lvis_{split}"]["images"]
        row = rows[number // 2 % len(rows)]
        stuff = "stuff_val" if "val2017" in row["coco_url"] else "stuff_train"
        image_id = 1000 + number
        folder = stuff.removeprefix("stuff_") + "2017"
        sources.add_image(image_id, split=split, folder=folder, height=row["height"], width=row["width"])
        for source in (f"lvis_{split}", stuff):
            for annotation in pattern.annotations(source, row["id"]):
                sources.add(source, image_id, annotation["category_id"], annotation["segmentation"])
    root = sources.write(tmp_path_factory.mktemp("many"))
    assert finish(root, "undisturbed")["written"] == NUM_IMAGES
    return root


def command(root: Path, output: str) -> list[str]:
    return [sys.executable, str(ROOT / "launch.py"), *arguments(root, output), "--workers", "2", "--json"]


def started(root: Path, output: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(root, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def masks_of(output: Path) -> int:
    return sum(1 for _ in output.glob("masks/*/*.png"))


def wait_for_masks(process: subprocess.Popen[str], output: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while masks_of(output) < number and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(root: Path, output: str) -> Json:
    done = subprocess.run(command(root, output), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: Json = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_killed_at_any_moment_it_becomes_what_it_would_have_become(many: Path) -> None:
    chance = random.Random(5)
    output = many / "killed"
    kills = 0
    for share in (0.0, 0.02, 0.3, 0.5, 0.7):
        process = started(many, output.name)
        wait_for_masks(process, output, max(1, int(share * NUM_IMAGES)) if kills else 0)
        time.sleep(chance.random() * (0.02 if kills else 0.5))
        whole_session = kills % 2 == 0  # at times the workers are left to themselves
        os.killpg(process.pid, signal.SIGKILL) if whole_session else process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 3
    assert not (output / "masks/val/images.txt").exists()
    before = masks_of(output)
    result = finish(many, output.name)
    assert result["written"] + result["skipped"] == NUM_IMAGES
    assert 0 < result["skipped"] <= before
    assert tree(output) == tree(many / "undisturbed")


@pytest.mark.slow
def test_interrupted_it_keeps_what_is_done_and_says_so(many: Path) -> None:
    output = many / "interrupted"
    process = started(many, output.name)
    wait_for_masks(process, output, 200)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "interrupted; what is done is kept, the same command goes on"
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    result = finish(many, output.name)
    assert result["skipped"] > 0
    assert result["written"] + result["skipped"] == NUM_IMAGES
    assert tree(output) == tree(many / "undisturbed")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not show its processes in /proc")
def test_a_worker_that_is_killed_ends_the_build_in_one_line(many: Path) -> None:
    output = many / "worker killed"
    process = started(many, output.name)
    wait_for_masks(process, output, 100)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "a worker process ended (killed by SIGKILL)" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert len(SOURCES) == sum(line.startswith("reading ") for line in err.splitlines())


def test_help_has_an_example_and_imports_nothing_that_is_slow() -> None:
    environment = {**os.environ, "COLUMNS": "100", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    program = (
        "import sys\nfrom essnet.cli.app import main\n"
        "try:\n    main(['data', 'build-coco-lvis', '--help'])\n"
        "finally:\n    print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    text, _, loaded = done.stdout.partition("LOADED")
    assert done.returncode == 0, done.stderr
    assert "launch.py data build-coco-lvis --images" in text
    assert not {"torch", "numba", "msgspec"} & set(loaded.split())


def test_a_build_needs_no_torch(folder: Path) -> None:
    program = (
        f"import sys\nfrom essnet.cli.app import main\n"
        f"try:\n    main({[*arguments(folder), '--workers', '0']!r})\n"
        "finally:\n    print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout.partition("LOADED")[2].split()


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data") == 0
    assert "build-coco-lvis" in capsys.readouterr().out

"""`launch.py data download` from a server on loopback: the folder is what the loader reads, and what is told."""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from essnet.cli.app import main
from essnet.config import trial_from_mapping
from essnet.data import build_dataset
from essnet.downloads import catalogue
from essnet.downloads.archive import Archive, Checksum, readable
from essnet.downloads.catalogue import Wanted
from tests.coco_lvis.generated import overlapping
from tests.data.official_fixtures import Fixture, Item, make_fixture, make_voc
from tests.downloads.archives import files_below, tar_of, zip_of
from tests.downloads.conftest import server as server  # the fixture
from tests.downloads.server import Served, Server

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object) -> int:
    with pytest.raises(SystemExit) as exited:
        main(["data", "download", *map(str, command)])
    assert isinstance(exited.value.code, int)
    return exited.value.code


def publish(server: Server, monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> None:
    """Serve archives by their published names, and let the catalogue name this server and what these archives are."""
    official = catalogue.data_set

    def here(wanted: catalogue.Wanted) -> catalogue.DataSet:
        data_set = official(wanted)
        return replace(data_set, archives=tuple(map(local, data_set.archives)))

    def local(archive: Archive) -> Archive:
        content = contents[archive.name]
        checksum = archive.checksum
        if checksum is not None:
            checksum = Checksum(checksum.algorithm, hashlib.new(checksum.algorithm, content).hexdigest())
        size = None if archive.size is None else len(content)
        return replace(archive, address=server.address(archive.name), size=size, about=0, checksum=checksum)

    server.files |= {name: Served(content) for name, content in contents.items()}
    monkeypatch.setattr(catalogue, "data_set", here)


def under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def only(beginning: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.startswith(beginning)}


def voc(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_fixture("voc", path)
    return fixture, {"VOCtrainval_11-May-2012.tar": tar_of(under("VOCdevkit", files_below(path)))}


def voc_augmented(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_fixture("voc with SBD as MAT", path)
    files = files_below(path)
    return fixture, {
        "VOCtrainval_11-May-2012.tar": tar_of(under("VOCdevkit", only("VOC2012", files))),
        "benchmark.tgz": tar_of(only("benchmark_RELEASE", files), gzipped=True),
    }


def voc_2011(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_voc(path, year=2011)
    return fixture, {"VOCtrainval_25-May-2011.tar": tar_of(under("TrainVal/VOCdevkit", files_below(path)))}


def ade20k(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_fixture("ade20k", path)
    return fixture, {"ADEChallengeData2016.zip": zip_of(under("ADEChallengeData2016", files_below(path)))}


def coco_stuff10k(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_fixture("coco_stuff10k", path)
    return fixture, {"cocostuff-10k-v1.1.zip": zip_of(files_below(path))}


def coco_stuff(path: Path) -> tuple[Fixture, dict[str, bytes]]:
    fixture = make_fixture("coco_stuff", path)
    return fixture, {
        "train2017.zip": zip_of(only_images(path, "train2017")),
        "val2017.zip": zip_of(only_images(path, "val2017")),
        "stuffthingmaps_trainval2017.zip": zip_of(files_below(path / "stuffthingmaps")),
    }


def only_images(path: Path, folder: str) -> dict[str, bytes]:
    return under(folder, files_below(path / "images" / folder))


Made = Callable[[Path], tuple[Fixture, dict[str, bytes]]]
SETS: dict[str, tuple[Made, list[str]]] = {
    "voc": (voc, []),
    "voc augmented": (voc_augmented, ["--augmented"]),
    "voc of 2011": (voc_2011, ["--year", "2011"]),
    "ade20k": (ade20k, []),
    "coco_stuff10k": (coco_stuff10k, []),
    "coco_stuff": (coco_stuff, []),
}


def check_loads(root: Path, fixture: Fixture, splits: dict[str, list[Item]]) -> None:
    data = {**fixture.data, "root": str(root)}
    mapping = {"name": "t", "data": data, "objective": {"name": "full_softmax"}}
    for split, items in splits.items():
        dataset = build_dataset(trial_from_mapping(mapping, (), source="t.yaml").data, split)
        assert len(dataset) == len(items)
        for index, item in enumerate(items):
            image, mask = dataset[index]
            assert abs(float(image.float().mean()) - item.level) < 2
            assert torch.equal(torch.as_tensor(mask).long(), torch.as_tensor(item.targets).long())


@pytest.mark.parametrize("name", SETS)
def test_the_folder_is_what_the_loader_reads(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, options = SETS[name]
    fixture, contents = make(tmp_path / "made")
    publish(server, monkeypatch, contents)
    root = tmp_path / "root"
    command = [name.split()[0], "--root", root, *options, "--json"]
    assert run(*command) == 0
    check_loads(root, fixture, fixture.items)
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert output.out.count("\n") == 1
    assert {key: result[key] for key in ("name", "root", "next")} == {
        "name": name.split()[0],
        "root": str(root),
        "next": None,
    }
    assert {one["address"] for one in result["archives"]} == {server.address(archive) for archive in contents}
    for one in result["archives"]:
        assert one["bytes"] == len(contents[one["address"].rpartition("/")[2]])
        assert one["verified"] == ("size" if "stuff" in one["address"] else "md5" if "voc" in name else "sha256")
        assert one["skipped"] is False
    assert output.err.index("licence: ") < output.err.index("http://127.0.0.1")
    asked = len(server.asked)
    assert run(*command) == 0
    assert all(one["skipped"] for one in json.loads(capsys.readouterr().out)["archives"])
    assert len(server.asked) == asked


def test_one_split_of_coco_stuff_alone(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fixture, contents = coco_stuff(tmp_path / "made")
    publish(server, monkeypatch, contents)
    root = tmp_path / "root"
    assert run("coco_stuff", "--root", root, "--split", "val") == 0
    check_loads(root, fixture, {"val": fixture.items["val"]})
    assert not (root / "train2017").exists()
    assert run("coco_stuff", "--root", root) == 0
    check_loads(root, fixture, fixture.items)
    assert sorted(asked.path for asked in server.asked) == sorted(f"/{name}" for name in contents)


def test_coco_lvis_is_built_by_the_command_that_is_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = overlapping(3).write(tmp_path / "made")
    images = files_below(made / "images")
    stuff = {f"annotations/stuff_{split}2017.json": (made / f"stuff_{split}.json").read_bytes() for split in SPLITS}
    contents = {
        "train2017.zip": zip_of(only("train2017", images)),
        "val2017.zip": zip_of(only("val2017", images)),
        "stuff_annotations_trainval2017.zip": zip_of(stuff),
        "stuffthingmaps_trainval2017.zip": zip_of({"train2017/000000000009.png": b"a map"}),
        **{
            f"lvis_v1_{split}.json.zip": zip_of({f"lvis_v1_{split}.json": (made / f"lvis_{split}.json").read_bytes()})
            for split in SPLITS
        },
    }
    publish(server, monkeypatch, contents)
    root = tmp_path / "the root"
    assert run("coco_lvis", "--root", root, "--json") == 0
    output = capsys.readouterr()
    command = json.loads(output.out)["next"]
    assert command in output.err
    program, *build = shlex.split(command)
    assert program == "launch.py"
    with pytest.raises(SystemExit) as exited:
        main([*build, "--workers", "0"])
    assert exited.value.code == 0
    mapping: dict[str, Any] = {
        "name": "t",
        "data": {"name": "coco_lvis", "root": str(root)},
        "objective": {"name": "full_softmax"},
    }
    data = trial_from_mapping(mapping, (), source="t.yaml").data
    assert [len(build_dataset(data, split)) for split in SPLITS] == [6, 6]
    # COCO's images are those of coco_stuff too.
    capsys.readouterr()
    assert run("coco_stuff", "--root", root, "--json") == 0
    skipped = {one["address"]: one["skipped"] for one in json.loads(capsys.readouterr().out)["archives"]}
    assert skipped == {
        server.address("train2017.zip"): True,
        server.address("val2017.zip"): True,
        server.address("stuffthingmaps_trainval2017.zip"): False,
    }


SPLITS = ("train", "val")


def test_a_dry_run_asks_and_writes_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server, monkeypatch, voc(tmp_path / "made")[1])
    root = tmp_path / "root"
    assert run("voc", "--root", root, "--dry-run", "--json") == 0
    output = capsys.readouterr()
    address = server.address("VOCtrainval_11-May-2012.tar")
    size = json.loads(output.out)["archives"][0]["bytes"]
    assert json.loads(output.out)["archives"] == [
        {"address": address, "bytes": size, "verified": None, "skipped": False}
    ]
    assert f"{address} ({size / 1024:.1f} KiB, md5)" in output.err
    assert "are free" in output.err
    assert "licence: " in output.err
    assert server.asked == []
    assert not root.exists()


@pytest.mark.parametrize("name", ["voc", "ade20k", "coco_stuff10k", "coco_stuff", "coco_lvis"])
def test_every_published_set_can_be_planned(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--root", tmp_path, "--dry-run") == 0
    output = capsys.readouterr().out
    assert "licence: " in output
    assert output.count("https://") + output.count("http://") >= 2


def test_the_help_says_how_little_one_split_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("--help") == 0
    one, both = (
        readable(sum(archive.planned_bytes for archive in catalogue.data_set(wanted).archives))
        for wanted in (Wanted(name="coco_stuff", root=tmp_path, split=split) for split in ("val", None))
    )
    assert f"val is {one} instead of {both}" in capsys.readouterr().out


def test_cityscapes_is_told_in_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "city scapes"
    assert run("cityscapes", "--root", root) == 2
    output = capsys.readouterr()
    assert output.err == "essnet: cityscapes: needs an account, so nothing was downloaded; the steps are above\n"
    steps = [line for line in output.out.splitlines() if line[0].isdigit()]
    assert [step[:3] for step in steps] == [f"{number}. " for number in range(1, len(steps) + 1)]
    assert "leftImg8bit_trainvaltest.zip" in output.out
    assert "gtFine_trainvaltest.zip" in output.out
    assert f"launch.py data check cityscapes --root '{root}'" in output.out
    assert not root.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["textures"], "textures: nothing to download; its scenes are generated"),
        (["folder"], "folder: nothing to download; it is your own images and masks"),
        (["coco"], "coco: unknown data set; one of voc, ade20k, cityscapes, coco_stuff10k, coco_stuff, coco_lvis"),
        (["ade20k", "--year", "2012"], "--year: ade20k has no such choice; only voc has years"),
        (["ade20k", "--augmented"], "--augmented: ade20k has no such choice; only voc has SBD's labels"),
        (["voc", "--split", "val"], "--split: voc has no such choice"),
        (["coco_lvis", "--split", "val"], "--split: coco_lvis has no such choice; most images of LVIS's val are in"),
        (["coco_stuff", "--split", "test"], "--split: found 'test'; one of train, val"),
        (["voc", "--year", "2013"], "--year: found 2013; one of 2007, 2008, 2009, 2010, 2011, 2012"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--root", tmp_path / "root") == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"essnet: {words}")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not (tmp_path / "root").exists()


def test_a_server_that_refuses_is_one_line_and_exit_code_1(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server, monkeypatch, voc(tmp_path / "made")[1])
    server.files.clear()
    assert run("voc", "--root", tmp_path / "root") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"essnet: DownloadFailed: {server.address('VOCtrainval_11-May-2012.tar')}: answered 404")
    assert error.count("\n") == 1


INTERRUPTED = """
import sys
from dataclasses import replace
from essnet.cli.app import main
from essnet.downloads import catalogue
official, address = catalogue.data_set, sys.argv.pop(1)
def here(wanted):
    data_set = official(wanted)
    local = [replace(archive, address=address, size=None, checksum=None) for archive in data_set.archives]
    return replace(data_set, archives=tuple(local))
catalogue.data_set = here
main(sys.argv[1:])
"""


def test_ctrl_c_keeps_what_has_come(server: Server, tmp_path: Path) -> None:
    files = files_below(make_fixture("ade20k", tmp_path / "made").root)
    content = zip_of({**under("ADEChallengeData2016", files), "padding.bin": bytes(range(256)) * 4096}, compression=0)
    server.files["ADEChallengeData2016.zip"] = Served(content, stalls=[1 << 20])
    root = tmp_path / "root"
    command = [
        *(sys.executable, "-c", INTERRUPTED, server.address("ADEChallengeData2016.zip")),
        *("data", "download", "ade20k", "--root", str(root)),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = root / "downloads" / "ADEChallengeData2016.zip.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size >= 1 << 20):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted; what has come is kept, the same command goes on" in output
    assert error == ""
    assert part.stat().st_size == 1 << 20
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"done; use it with data.root={root}" in done.stdout
    assert server.asked[1].range == f"bytes={1 << 20}-"
    assert (root / "images" / "training").is_dir()

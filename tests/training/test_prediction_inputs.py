from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from essnet.config import InputError
from essnet.training.prediction_inputs import find_inputs, with_all_frames
from tests.data.test_video_frames import write_video

IMAGES = ("a.jpg", "b/a.png", "b/c/d.TIFF")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in IMAGES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(root / name)
    (root / "b" / "notes.txt").write_text("no image")
    return root


def stems(*arguments: Path, output: Path = Path("out"), seconds: float = 1.0) -> list[str]:
    return [str(item.stem) for item in find_inputs(arguments, output=output, seconds=seconds)]


def test_files_have_their_own_names(folder: Path) -> None:
    found = find_inputs([folder / "b" / "a.png", folder / "a.jpg"], output=Path("out"), seconds=1)
    assert [(str(item), item.stem, item.size) for item in found] == [
        (str(folder / "b" / "a.png"), Path("a"), (20, 30)),
        (str(folder / "a.jpg"), Path("a"), (20, 30)),
    ]
    assert found[0].read().shape == (20, 30, 3)


def test_a_folder_keeps_those_below_it(folder: Path) -> None:
    assert stems(folder) == ["a", "b/a", "b/c/d"]
    assert stems(folder / "b") == ["a", "c/d"]


def test_a_pattern_keeps_the_folders_below_what_is_fixed_of_it(folder: Path) -> None:
    assert stems(folder / "*" / "*.png") == ["b/a"]
    assert stems(folder / "b" / "*") == ["a"]
    assert stems(folder / "**" / "*") == ["a", "b/a", "b/c/d"]
    assert stems(folder / "?.jpg", folder / "b" / "c") == ["a", "d"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    Image.new("RGB", (3, 2)).save(folder / "x[1].png")
    assert stems(folder / "x[1].png") == ["x[1]"]


def test_results_of_an_earlier_run_are_no_images(folder: Path) -> None:
    assert stems(folder, output=folder / "b") == ["a"]
    assert stems(folder, output=folder) == ["a", "b/a", "b/c/d"]
    assert stems(folder, output=folder.parent) == ["a", "b/a", "b/c/d"]


def test_frames_of_a_video_lie_in_a_folder_of_its_name(folder: Path) -> None:
    write_video(folder / "b" / "drive.mp4")
    assert stems(folder / "b" / "drive.mp4") == ["drive/frame-000000", "drive/frame-000010", "drive/frame-000020"]
    assert stems(folder / "b", seconds=2)[2:] == ["drive/frame-000000", "drive/frame-000020"]
    last = find_inputs([folder / "b" / "drive.mp4"], output=Path("out"), seconds=2)[-1]
    assert str(last) == f"{folder / 'b' / 'drive.mp4'}#20"
    assert last.size == (48, 64)
    assert last.read().shape == (48, 64, 3)


def test_all_frames_of_a_video_among_which_are_those_that_have_files(folder: Path) -> None:
    for name in ("x", "y"):
        write_video(folder / f"{name}.mp4")
    inputs = find_inputs([folder], output=Path("out"), seconds=1)
    (video,) = {item.video for item in inputs if item.path.name == "x.mp4"} - {None}
    assert video is not None
    found = with_all_frames(inputs, [video])
    assert [item for item in found if item.saved] == [item for item in inputs if item.video is not video] + [
        item for item in inputs if item.video is video
    ]
    frames = [item for item in found if item.video is video]
    assert [item.frame for item in frames] == list(range(25))
    assert [item.frame for item in frames if item.saved] == [0, 10, 20]
    assert with_all_frames(inputs, []) == inputs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.jpg", "gone.jpg: not found"),
        ("b/notes.txt", "notes.txt: cannot be read as an image"),
        ("empty", "empty: holds no image or video (jpg, jpeg, png"),
        ("*.png", "*.png: no image or video fits this pattern"),
        ("gone.mp4", "gone.mp4: not found"),
    ],
)
def test_what_is_not_there(folder: Path, name: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError) as error:
        stems(folder / "a.jpg", folder / name)
    assert message in str(error.value)

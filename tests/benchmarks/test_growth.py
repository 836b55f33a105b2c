from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import growth

TRUE = {"fixed": 3e8, "pixel": 5e3, "pixel_class": 12.0, "class": 4096.0}


def _measured(coefficients: dict[str, float]) -> list[dict[str, float]]:
    return [
        {
            "num_classes": classes,
            "pixels": pixels,
            "mib": (
                coefficients["fixed"]
                + pixels * (coefficients["pixel"] + classes * coefficients["pixel_class"])
                + classes * coefficients["class"]
            )
            / 2**20,
        }
        for pixels in (32_768, 65_536)
        for classes in (19, 150, 1284, 20_000)
    ]


@pytest.mark.parametrize("coefficients", [TRUE, {**TRUE, "pixel_class": 0.0}])
def test_what_a_pixel_and_a_class_take_is_found_again(coefficients: dict[str, float]) -> None:
    assert growth.fit(_measured(coefficients)) == pytest.approx(coefficients, rel=1e-3, abs=1e-3)


def test_the_largest_number_of_classes_fits_and_the_next_does_not() -> None:
    pixels, bytes_there = 2**21, 16e9
    largest = growth.largest_num_classes(TRUE, pixels=pixels, gigabytes=16)
    assert largest is not None

    def taken(classes: int) -> float:
        return TRUE["fixed"] + pixels * (TRUE["pixel"] + classes * TRUE["pixel_class"]) + classes * TRUE["class"]

    assert taken(largest) <= bytes_there < taken(largest + 1)
    assert growth.largest_num_classes(TRUE, pixels=pixels, gigabytes=8) == 0
    flat = {**TRUE, "pixel_class": 0.0, "class": 0.0}
    assert growth.largest_num_classes(flat, pixels=pixels, gigabytes=16) is None


@pytest.mark.slow
def test_a_few_small_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "growth.json"
    arguments = ["--encoder", "tu-test_resnet", "--objectives", "full_softmax", "knn_softmax", "--crop", "32"]
    small = ["--num-classes", "19", "2000", "--batches", "2", "4", "--steps", "1", "--threads", "1"]
    assert growth.main([*arguments, *small, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert len(result["measured"]) == 8
    assert all(one["mib"] > 0 and one["step_ms"] > 0 for one in result["measured"])
    assert set(result["largest_num_classes"]) == {"full_softmax", "knn_softmax"}
    assert "| `knn_softmax` |" in capsys.readouterr().out

from __future__ import annotations

from pathlib import Path

from benchmarks.predict import measured
from essnet.training.prediction_inputs import find_inputs
from essnet.training.trial import build_trial
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import tiny_trial


def test_both_ways_write_the_same(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=5)
    trial = build_trial(tiny_trial(), cache_dir=None)
    inputs = find_inputs([root / "images" / "val"], output=tmp_path / "out", seconds=1)
    record = measured(
        trial.model.eval(),
        inputs,
        classes=trial.eval_data.classes,
        folder=tmp_path / "out",
        rounds=2,
        batch_size=2,
    )
    assert (record["images"], record["batch_size"]) == (5, 2)
    assert record["differing_share"] == 0
    assert min(record["loop"]["p20"], record["predict"]["p20"], record["ratio"]) > 0
    written = [sorted(path.name for path in (tmp_path / "out" / way).iterdir()) for way in ("loop", "predict")]
    assert written[0] == written[1]
    assert len(written[0]) == 10

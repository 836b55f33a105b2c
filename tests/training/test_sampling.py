"""What a long tail asks of a trial: off by default, counted once, kept beside the run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import essnet.data.kept_histogram as kept_histogram
from essnet.config import InputError
from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.label_histogram import count_labels
from essnet.data.repeat_factor import repeat_factors
from essnet.training.loss_watch import NonFiniteLossError
from essnet.training.trainer import Trainer
from tests.data.fixtures import make_folder_dataset, save_mask
from tests.training.tiny import NUM_CLASSES, tiny_trial

REPEATED = {"data.sampling.repeat_factor": 0.9}


def test_nothing_is_counted_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_histogram, "count_labels", None)
    config = tiny_trial({"trainer.max_steps": 1})
    assert config.data.sampling.repeat_factor is None
    assert config.data.sampling.class_balanced_crops == 0
    Trainer(config, directory=tmp_path / "run", cache_dir=tmp_path / "cache").train()
    assert not (tmp_path / "run" / "label_histogram.json").exists()
    assert not (tmp_path / "cache").exists()


def test_labels_are_counted_once_and_the_counts_lie_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_trial({**REPEATED, "trainer.max_steps": 1})
    told: list[tuple[int, int]] = []
    first = Trainer(
        config,
        directory=tmp_path / "run",
        cache_dir=tmp_path / "cache",
        scan_progress=lambda done, total: told.append((done, total)),
    )
    first.train()
    assert told == [(11, 11)]
    counts = json.loads((tmp_path / "run" / "label_histogram.json").read_text())
    assert counts == count_labels(first.trial.train_data).to_json(first.trial.train_data.classes)
    assert (counts["images"], counts["pixels"], len(counts["classes"])) == (11, 11 * 32 * 32, NUM_CLASSES)

    monkeypatch.setattr(kept_histogram, "count_labels", None)
    Trainer(config, directory=tmp_path / "again", cache_dir=tmp_path / "cache").train()
    assert json.loads((tmp_path / "again" / "label_histogram.json").read_text()) == counts


def test_a_batch_that_fails_is_named_by_what_was_repeated(tmp_path: Path) -> None:
    trainer = Trainer(tiny_trial({**REPEATED, "trainer.max_steps": 9}), directory=tmp_path)
    factors = repeat_factors(count_labels(trainer.trial.train_data), 0.9)
    assert (factors > 1).any()
    trainer.state.step = 6  # beyond an epoch of every scene once
    sampler = TrainBatchSampler(length=11, batch_size=4, seed=0, start_step=6, repeat_factors=factors)
    expected = ", ".join(f"scene {index}" for index, _ in next(iter(sampler)))
    plain = TrainBatchSampler(length=11, batch_size=4, seed=0, start_step=6)
    assert expected != ", ".join(f"scene {index}" for index, _ in next(iter(plain)))
    with torch.no_grad():
        next(iter(trainer.trial.model.parameters())).fill_(np.nan)
    with pytest.raises(NonFiniteLossError, match=re.escape(f"train images {expected};")):
        trainer.train()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.sampling.repeat_factor": 0.0}, r"data.sampling.repeat_factor: found 0.0; expected greater than 0"),
        ({"data.sampling.repeat_factor": 1.5}, r"data.sampling.repeat_factor: found 1.5; expected less than or equal"),
        ({"data.sampling.class_balanced_crops": 2}, r"data.sampling.class_balanced_crops: found 2; expected less"),
        ({"data.sampling.repeat": 0.1}, r"unknown key; did you mean data.sampling.repeat_factor\?"),
        (
            {"data.sampling.class_balanced_crops": 0.5},
            r"data.sampling: class_balanced_crops must be 0 for textures: scenes are drawn at the crop's size",
        ),
    ],
)
def test_impossible_values_are_refused(overrides: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_trial(overrides)


def test_class_balanced_crops_reach_the_loader(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=6, size=(80, 80))
    for path in (root / "masks" / "train").iterdir():  # one class everywhere but in a corner of 2 x 2 pixels
        ids = np.zeros((80, 80), np.uint8)
        ids[:2, :2] = 1
        save_mask(path, ids)
    shares = {}
    for chance in (0.0, 1.0):
        data = {"name": "folder", "root": str(root), "crop_size": 32, "scale": [1.0, 1.0]}
        config = tiny_trial({"data": {**data, "sampling": {"class_balanced_crops": chance}}})
        batches = Trainer(config, directory=tmp_path / "run")._batches.after(0)
        crops = torch.cat([next(batches)[1] for _ in range(10)])
        shares[chance] = float((crops == 1).flatten(1).any(1).float().mean())
    # Two classes are as likely each, so that half of the crops look at the corner.
    assert shares[1.0] > 0.3 > shares[0.0]

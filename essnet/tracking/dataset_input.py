"""The data that a run trains and is evaluated on, as MLflow's dataset inputs: what they are, and where they lie."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.schema import TensorDatasetSchema
from mlflow.types import Schema, TensorSpec
from pydantic import TypeAdapter

from essnet.config import DataConfig, FolderData, TexturesData, TrialConfig
from essnet.config.data import ExtensionData
from essnet.data import SegmentationDataset, build_dataset
from essnet.data.paired_files import PairedFilesDataset

_WHAT_LABELS_MEAN = ("name", "ignore_value", "reduce_zero_label", "year", "augmented", "options")
"""Keys of the `data` block by which the same files are other data."""
_MOST_SIZES = 1000


def dataset_inputs(
    config: TrialConfig, *, train: SegmentationDataset, evaluation: SegmentationDataset
) -> list[dict[str, Any]]:
    """Describe the splits of a trial, as `MlflowTracker.log_inputs` takes them."""
    splits = (("training", "train", train), ("evaluation", config.evaluation.split, evaluation))
    return [
        {"context": context, "dataset": Split(config.data, split, data).to_dict()} for context, split, data in splits
    ]


class Split(Dataset):
    """One split of a data set.

    The digest is the same on every machine that has the same data. Of data in files it is that of all their names
    below the root, the classes, what label values mean, and the sizes of some of the files, at most 1,000 images and
    their labels: cheap over a network too. It does not see a change that leaves the size of these as it was.
    """

    def __init__(self, config: DataConfig, split: str, data: SegmentationDataset) -> None:
        self._config = config
        self._split = split
        self._data = data
        name: str = config.name
        source: DatasetSource
        if isinstance(config, TexturesData | ExtensionData):
            source = GeneratedSource(config.model_dump(mode="json", exclude={"num_workers", "sampling"}), split)
        else:
            source = get_dataset_source_from_json(json.dumps({"uri": config.root}), "local")
            if isinstance(config, FolderData):
                name = Path(config.root).name
        super().__init__(source=source, name=f"{name} {split}")

    def _compute_digest(self) -> str:
        digest = hashlib.sha256()
        for fact in self._facts():
            digest.update(json.dumps(fact).encode() + b"\n")
        return digest.hexdigest()[:8]

    def _facts(self) -> Iterator[object]:
        data, values = self._data, self._config.model_dump(mode="json")
        yield [self._split, len(data), *data.classes.names]
        if isinstance(self._config, TexturesData):
            yield [values[key] for key in ("name", "crop_size", "seed")]
            return
        yield {key: values[key] for key in _WHAT_LABELS_MEAN if key in values}
        if isinstance(data, PairedFilesDataset):
            beginning = os.path.join(self._config.root, "") if self._config.root else None
            yield [[_below(beginning, image), _below(beginning, label)] for image, label in data.files]
            stride = -(-len(data) // _MOST_SIZES)
            yield [[os.stat(path).st_size for path in pair] for pair in data.files[::stride]]

    @property
    def profile(self) -> dict[str, int]:
        """Number of images and of classes."""
        return {"images": len(self._data), "classes": self._data.classes.num_classes}

    @property
    def schema(self) -> TensorDatasetSchema:
        """An image and the class index of each of its pixels."""
        return TensorDatasetSchema(
            features=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), "image")]),
            targets=Schema([TensorSpec(np.dtype(np.int64), (-1, -1, -1), "classes")]),
        )

    def to_dict(self) -> dict[str, str]:
        """Return all of it as text, as MLflow keeps it."""
        return {
            **super().to_dict(),
            "schema": json.dumps(self.schema.to_dict()),
            "profile": json.dumps(self.profile),
        }


class GeneratedSource(DatasetSource):
    """A `data` block whose images are generated from it."""

    def __init__(self, block: Mapping[str, Any], split: str) -> None:
        self._block = dict(block)
        self._split = split

    @staticmethod
    def _get_source_type() -> str:
        return "essnet_generator"

    def load(self) -> SegmentationDataset:
        """Build the data set."""
        config: DataConfig = TypeAdapter(DataConfig).validate_python(self._block)
        return build_dataset(config, self._split)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> GeneratedSource:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the split and the block."""
        return {"split": self._split, **self._block}

    @classmethod
    def from_dict(cls, source_dict: Mapping[str, Any]) -> GeneratedSource:
        """Return what `to_dict` was of."""
        block = {key: value for key, value in source_dict.items() if key != "split"}
        return cls(block, source_dict["split"])


def _below(beginning: str | None, path: str) -> str:
    return path.removeprefix(beginning) if beginning and path.startswith(beginning) else os.path.basename(path)

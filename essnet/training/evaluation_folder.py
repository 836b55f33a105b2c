"""What the best evaluation of a run saw, kept for comparing runs: classes, confusions, pictures, embeddings.

`evaluation.json` has the evaluation's `step`, `classes` (rows of those in truth or prediction, with `id`, `name`,
`iou` and `accuracy` or null, `pixels`, `predicted`, `group`, and `colour`, that of the pictures), `confusions`
(`truth`, `predicted`, `pixels`, the largest first) and `pictures` (`name`, and the files `image`, `truth` and
`prediction` beside it).
`embeddings.safetensors`, where the objective has any, has `class_embeddings` (C, D) and `pixel_embeddings` (N, D) in
float32, as they are compared with each other, and the pixels' true classes, `pixel_classes` (N,) int64.
"""

from __future__ import annotations

import math
from pathlib import Path

from essnet.atomic_files import replace_folder, write_json, write_png
from essnet.data import SegmentationDataset
from essnet.data.pictures import image_picture, label_picture
from essnet.models import EmbeddingOutput
from essnet.models.output_layers import OutputLayer
from essnet.models.tensor_files import save_tensors
from essnet.training.evaluation import EvaluationResult

FORMAT_VERSION = 1
_LONGEST_SIDE = 512


def write_evaluation_folder(
    folder: Path, *, step: int, result: EvaluationResult, output_layer: OutputLayer, data: SegmentationDataset
) -> None:
    """Write the folder as a whole, in the place of an earlier one.

    Parameters
    ----------
    step
        At which the run was evaluated.
    result
        What came of it.
    output_layer
        Whose class embeddings are kept, where it has any.
    data
        The images in the order in which they were evaluated.
    """

    def fill(temporary: Path) -> None:
        content = {
            "format_version": FORMAT_VERSION,
            "step": step,
            "classes": _classes(result),
            "confusions": result.confusions,
            "pictures": _pictures(temporary, result, data),
        }
        write_json(temporary / "evaluation.json", content)
        if result.pixels is not None and isinstance(output_layer, EmbeddingOutput):
            tensors = {
                "class_embeddings": output_layer.comparable_class_embeddings().detach().cpu().contiguous(),
                "pixel_embeddings": result.pixels.embeddings,
                "pixel_classes": result.pixels.classes,
            }
            save_tensors(tensors, temporary / "embeddings.safetensors")

    replace_folder(folder, fill)


def _classes(result: EvaluationResult) -> list[dict[str, object]]:
    rows = zip(result.per_class(), result.classes.colours.tolist(), strict=True)
    seen = ({**row, "colour": colour} for row, colour in rows if row["pixels"] or row["predicted"])
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in seen
    ]


def _pictures(folder: Path, result: EvaluationResult, data: SegmentationDataset) -> list[dict[str, str]]:
    described = []
    for index, (image, truth, prediction) in enumerate(result.rows):
        height, width = data[index][1].shape[-2:]  # a batch does not tell an image from its padding
        pictures = {
            "image": image_picture(image[:, :height, :width], longest_side=_LONGEST_SIDE),
            "truth": label_picture(truth[:height, :width], result.classes, longest_side=_LONGEST_SIDE),
            "prediction": label_picture(prediction[:height, :width], result.classes, longest_side=_LONGEST_SIDE),
        }
        files = {kind: f"{index}-{kind}.png" for kind in pictures}
        for kind, picture in pictures.items():
            write_png(folder / files[kind], picture)
        described.append({"name": Path(data.describe(index)).stem.replace(" ", "-"), **files})
    return described

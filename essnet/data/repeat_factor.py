"""Repeat-factor sampling: images with rare classes are seen more often than once in an epoch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from essnet.data.label_histogram import LabelHistogram


def repeat_factors(histogram: LabelHistogram, threshold: float) -> npt.NDArray[np.float64]:
    """How often each image is to be seen in an epoch, (images,), at least 1.

    A class c that is in the share f(c) of the images repeats them by r(c) = max(1, sqrt(threshold / f(c))), and an
    image is repeated by the largest r of its classes (Gupta, Dollár and Girshick, "LVIS: A Dataset for Large
    Vocabulary Instance Segmentation", CVPR 2019, arXiv 1908.03195v2, appendix B.2; their threshold
    is 0.001). An image without any class is seen once. Raises ValueError if `threshold` is not above 0.
    """
    if not threshold > 0:
        raise ValueError(f"threshold={threshold} must be above 0")
    share = histogram.images_with / max(1, histogram.images)
    with np.errstate(divide="ignore"):  # a class that never occurs repeats no image
        of_class = np.maximum(1.0, np.sqrt(threshold / share))
    of_image = np.ones(histogram.images)
    image = np.repeat(np.arange(histogram.images), np.diff(histogram.offsets))
    np.maximum.at(of_image, image, of_class[histogram.present])
    return of_image

"""Labels in MATLAB files, as SBD and COCO-Stuff 10k publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError


def read_mat_ids(path: Path, *, variable: str, field: str | None = None) -> npt.NDArray[np.integer]:
    """Read a label map, (H, W) integers: a variable of a MATLAB file, or a field of the struct that it is.

    Raises InputError if the file cannot be read, has no such variable or field, or that is no map of whole
    numbers.
    """
    # Only here: most data sets need none of it, and it takes a quarter of a second.
    from scipy.io import loadmat

    wanted = variable if field is None else f"{variable}.{field}"
    try:
        with path.open("rb") as file:
            value = loadmat(file, variable_names=[variable])[variable]
        if field is not None:
            value = value[field][0, 0]
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except (KeyError, IndexError):
        raise InputError(f"{path}: holds no {wanted}; expected the label map there") from None
    except Exception as error:  # scipy raises nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as a MATLAB file ({reason})") from None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "uif":
        raise InputError(f"{path}: {wanted} is no label map; expected one whole number per pixel")
    if value.dtype.kind != "f":
        return value
    # MATLAB's own numbers are doubles.
    with np.errstate(invalid="ignore"):
        ids = value.astype(np.int64)
    if not np.array_equal(ids, value):
        raise InputError(f"{path}: {wanted} has values that are no whole numbers; expected one per pixel")
    return ids

"""Labels in MATLAB files, as SBD and COCO-Stuff 10k publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from essnet.config.errors import InputError
from essnet.data.image_files import check_plain
from essnet.data.mat_file import read_numbers


def read_mat_ids(path: Path, *, variable: str, field: str | None = None) -> npt.NDArray[np.integer]:
    """Read a label map, (H, W) integers: a variable of a MATLAB file, or a field of the struct that it is.

    Raises InputError if the file cannot be read, has no such variable or field, or that is no map of whole
    numbers.
    """
    wanted = variable if field is None else f"{variable}.{field}"
    try:
        check_plain(path)
        value = read_numbers(path.read_bytes(), variable=variable, field=field)
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except KeyError:
        raise InputError(f"{path}: holds no {wanted}; expected the label map there") from None
    except TypeError:
        raise InputError(f"{path}: {wanted} is no label map; expected one whole number per pixel") from None
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error})") from None
    if value.dtype.kind != "f":
        return value
    # MATLAB's own numbers are doubles.
    with np.errstate(invalid="ignore"):
        ids = value.astype(np.int64)
    if not np.array_equal(ids, value):
        raise InputError(f"{path}: {wanted} has values that are no whole numbers; expected one per pixel")
    return ids

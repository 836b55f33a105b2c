"""How a pixel embedding and a class embedding meet."""

from __future__ import annotations

from essnet.config.errors import InputError

SIMILARITIES = ("l2", "cosine", "dot")
"""`l2`: smallest distance is nearest; `cosine` and `dot`: largest inner product is nearest (of normalised, or
of
plain vectors: normalising is the caller's)."""


def check_similarity(similarity: str) -> None:
    """Raise InputError unless `similarity` is one of `SIMILARITIES`."""
    if similarity not in SIMILARITIES:
        raise InputError(f"similarity={similarity!r} is unknown; choose one of {', '.join(SIMILARITIES)}")

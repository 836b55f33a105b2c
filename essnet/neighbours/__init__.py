"""Nearest class embeddings: one interface, searched by FAISS or by plain torch."""

from essnet.neighbours.approximate_index import check_worth_it
from essnet.neighbours.backends import BACKENDS, SEARCHES, build_index
from essnet.neighbours.index import NeighbourIndex
from essnet.neighbours.nearest import nearest_class
from essnet.neighbours.similarity import SIMILARITIES, check_similarity
from essnet.neighbours.torch_index import TorchIndex

__all__ = [
    "BACKENDS",
    "SEARCHES",
    "SIMILARITIES",
    "NeighbourIndex",
    "TorchIndex",
    "build_index",
    "check_similarity",
    "check_worth_it",
    "nearest_class",
]

"""The four objectives' losses and the regulariser, as pure functions of tensors."""

from essnet.losses.embedding_softmax import embedding_softmax_loss
from essnet.losses.full_softmax import full_softmax_loss
from essnet.losses.knn_softmax import knn_softmax_loss
from essnet.losses.margin import margin_regulariser
from essnet.losses.sampled_softmax import draw_negatives, sampled_softmax_loss
from essnet.losses.targets import check_targets

__all__ = [
    "check_targets",
    "draw_negatives",
    "embedding_softmax_loss",
    "full_softmax_loss",
    "knn_softmax_loss",
    "margin_regulariser",
    "sampled_softmax_loss",
]

"""The four objectives' losses and the regulariser, as pure functions of tensors, and as a module with its classes."""

from essnet.losses.class_embeddings import ClassEmbeddings
from essnet.losses.embedding_loss import EmbeddingLoss
from essnet.losses.embedding_softmax import embedding_softmax_loss
from essnet.losses.full_softmax import full_softmax_loss
from essnet.losses.knn_softmax import knn_softmax_loss
from essnet.losses.margin import margin_regulariser
from essnet.losses.sampled_softmax import draw_negatives, sampled_softmax_loss
from essnet.losses.targets import check_targets
from essnet.losses.upsampling import upsample

__all__ = [
    "ClassEmbeddings",
    "EmbeddingLoss",
    "check_targets",
    "draw_negatives",
    "embedding_softmax_loss",
    "full_softmax_loss",
    "knn_softmax_loss",
    "margin_regulariser",
    "sampled_softmax_loss",
    "upsample",
]

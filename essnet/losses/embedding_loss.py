"""The embedding objectives as a loss module for any training loop."""

from __future__ import annotations

from torch import Tensor

from essnet.losses.class_embeddings import ClassEmbeddings


class EmbeddingLoss(ClassEmbeddings):
    """The loss of a network with one embedding per pixel; the module holds the class embeddings, which train with it.

    Its parameters belong into the optimizer beside the network's, and its state into the checkpoint.

        criterion = essnet.EmbeddingLoss(num_classes=1284, embedding_dim=12, objective="knn_softmax")
        loss = criterion(network(images), targets)
        class_ids = criterion.predict(network(images), size=(512, 512))

    Parameters
    ----------
    num_classes, embedding_dim
        C class embeddings of D entries each.
    objective
        `knn_softmax`, `embedding_softmax` or `sampled_softmax`.
    similarity
        `l2` and `cosine` normalise both kinds of embeddings, `dot` neither.
    logit_scale, learn_logit_scale
        T, which multiplies the logits of `l2` and `cosine`; learned as its logarithm, so always positive.
    renormalise
        Normalise pixel embeddings once more after upsampling, which the paper does not.
    num_neighbours, num_random
        Nearest classes, and random ones that the batch shares, in the denominator.
    margin, margin_weight
        Of the regulariser that keeps normalised class embeddings apart; `dot` has none.
    search, search_backend
        `exact` or `approximate`, and the backend of the search for neighbours.

    Raises
    ------
    InputError
        If a name is unknown, or an option has no meaning for the similarity.

    Shape
    -----
    pixel embeddings (B, D, h, w) of any resolution, targets (B, H, W) int64 with `IGNORE_INDEX` where a pixel does not
    count -> a scalar: the mean over the pixels that do, and the weighted regulariser
    """

    def forward(self, pixel_embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; pixel embeddings are neither normalised nor upsampled yet."""
        return self.loss(pixel_embeddings, targets)

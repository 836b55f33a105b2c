"""The embedding objectives as a loss module for any training loop."""

from __future__ import annotations

from torch import Tensor

from essnet.losses.class_embeddings import ClassEmbeddings


class EmbeddingLoss(ClassEmbeddings):
    """The loss of a network with one embedding per pixel; the module holds the class embeddings, which train with it.

    Parameters and errors are those of `ClassEmbeddings`. Its parameters belong into the optimizer beside the
    network's, and its state into the checkpoint.

        criterion = essnet.EmbeddingLoss(num_classes=1284, embedding_dim=12, objective="knn_softmax")
        loss = criterion(network(images), targets)
        class_ids = criterion.predict(network(images), size=(512, 512))

    Shape
    -----
    pixel embeddings (B, D, h, w) of any resolution, targets (B, H, W) int64 with `IGNORE_INDEX` where a pixel does not
    count -> a scalar: the mean over the pixels that do, and the weighted regulariser
    """

    def forward(self, pixel_embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; pixel embeddings are neither normalised nor upsampled yet."""
        return self.loss(pixel_embeddings, targets)

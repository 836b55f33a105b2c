"""Exact search in plain torch: chunked matrix product and top-k, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from essnet.neighbours.chunks import default_chunk_bytes, rows_per_chunk
from essnet.neighbours.index import check_class_embeddings, check_queries, search_dtype


class TorchIndex:
    """Brute-force search that holds one chunk of the N x C scores at a time."""

    def __init__(self, class_embeddings: Tensor, *, similarity: str, chunk_bytes: int | None = None) -> None:
        """Keep the transposed class embeddings (C, D) and, for `l2`, half their squared norms."""
        check_class_embeddings(class_embeddings, similarity)
        classes = class_embeddings.detach().to(search_dtype(class_embeddings.dtype))
        self._transposed = classes.t().contiguous()
        # |e - w|^2 / 2 = |e|^2 / 2 - (e.w - |w|^2 / 2), and the query's own norm changes no ranking.
        self._bias = classes.square().sum(dim=1).mul_(-0.5) if similarity == "l2" else None
        self._chunk_bytes = default_chunk_bytes(classes.device) if chunk_bytes is None else chunk_bytes

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return the ids of the `k` nearest classes: queries (N, D) to (N, k) int64, nearest first."""
        embedding_dim, num_classes = self._transposed.shape
        check_queries(queries, k, num_classes, embedding_dim)
        found = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        rows = rows_per_chunk(
            bytes_per_row=num_classes * self._transposed.element_size(), chunk_bytes=self._chunk_bytes
        )
        scores = self._transposed.new_empty((min(rows, len(queries)), num_classes))
        with torch.autocast(queries.device.type, enabled=False):
            for start in range(0, len(queries), rows):
                query = queries[start : start + rows].to(self._transposed.dtype)
                ids = found[start : start + rows]
                score = scores[: len(query)]
                if self._bias is None:
                    torch.mm(query, self._transposed, out=score)
                else:
                    torch.addmm(self._bias, query, self._transposed, out=score)
                if k == 1:
                    torch.argmax(score, dim=1, keepdim=True, out=ids)
                else:
                    ids.copy_(score.topk(k, dim=1).indices)
        return found

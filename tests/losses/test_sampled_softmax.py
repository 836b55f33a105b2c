from __future__ import annotations

import itertools

import pytest
import torch

from essnet.losses import draw_negatives, sampled_softmax_loss
from essnet.neighbours import SIMILARITIES
from tests.losses.batches import make_batch, run
from tests.oracles import all_logits, rows_of


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("num_neighbours", [0, 2])
def test_partition_sum_is_unbiased(similarity: str, num_neighbours: int) -> None:
    """exp(loss + z_target), averaged over all draws of 3 among 7, is the sum over all classes."""
    batch = make_batch(num_classes=7, size=(1, 1, 1), ignored=0.0, dtype=torch.float64, logit_scale=2.0)
    logits = all_logits(rows_of(batch.pixel_embeddings), batch.class_embeddings, similarity, 2.0)[0].detach()
    target_logit = logits[batch.targets.item()]
    sums = []
    for draw in itertools.combinations(range(7), 3):
        value, _ = run(
            sampled_softmax_loss,
            batch,
            similarity=similarity,
            num_neighbours=num_neighbours,
            negatives=torch.tensor(draw),
        )
        sums.append((value + target_logit).exp())
    torch.testing.assert_close(torch.stack(sums).mean(), logits.exp().sum())


def test_drawn_negatives_are_distinct_and_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(10)
    for _ in range(2000):
        drawn = draw_negatives(num_classes=10, num_random=3, generator=generator, device="cpu")
        assert drawn.dtype == torch.int64
        assert len(set(drawn.tolist())) == 3
        hits[drawn] += 1
    assert ((hits / 2000 - 0.3).abs() < 0.05).all()


def test_draws_follow_the_generator_and_stop_at_all_classes() -> None:
    first, second = (
        draw_negatives(num_classes=50, num_random=9, generator=torch.Generator().manual_seed(4), device="cpu")
        for _ in range(2)
    )
    assert torch.equal(first, second)
    everything = draw_negatives(num_classes=5, num_random=9, generator=None, device="cpu")
    assert everything.sort().values.tolist() == [0, 1, 2, 3, 4]
    assert len(draw_negatives(num_classes=5, num_random=0, generator=None, device="cpu")) == 0
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1 and num_random=-1 at least 0"):
        draw_negatives(num_classes=0, num_random=-1, generator=None, device="cpu")


@pytest.mark.parametrize(
    ("num_neighbours", "negatives", "message"),
    [
        (-1, [1], "num_neighbours=-1 must be at least 0"),
        (0, [], "num_neighbours=0 and no negatives"),
        (2, [1, 11], r"negatives hold the class id 11; ids must lie in 0\.\.10"),
        (2, [1, -1], r"negatives hold the class id -1; ids must lie in 0\.\.10"),
        (2, [3, 1, 3], "negatives hold the class id 3 more than once"),
        (2, [[1, 2]], r"negatives must be int64 \(R,\); got torch.int64 of shape \(1, 2\)"),
    ],
)
def test_bad_input(num_neighbours: int, negatives: list[int], message: str) -> None:
    ids = torch.tensor(negatives, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        run(sampled_softmax_loss, make_batch(), num_neighbours=num_neighbours, negatives=ids)

"""The embedding losses in one pass on a CPU: products, neighbours, softmax and gradients of some pixels.

A chunk of costs written by one torch call and read by the next is memory traffic, and that is what these losses
spend their time on. Compiled by numba, a few pixels go through all their steps while their costs are in cache:
strips of 128 with pixels innermost where classes are few, tiles of 32 with classes innermost where they are many.
"""

from essnet.losses.fused.strip_loss import strip_loss_sum
from essnet.losses.fused.tile_loss import tile_loss_sum

__all__ = ["strip_loss_sum", "tile_loss_sum"]

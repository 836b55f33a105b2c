"""The embedding losses in one pass on a CPU: products, neighbours, softmax and gradients of a tile of pixels.

A chunk of costs written by one torch call and read by the next is memory traffic, and that is what these losses
spend their time on. Compiled by numba, a tile of pixels goes through all its steps while its costs are in cache.
"""

from essnet.losses.fused.engine import fused_loss_sum

__all__ = ["fused_loss_sum"]

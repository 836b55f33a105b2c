"""The embedding losses by torch calls: on any device, in float64 too, and the oracle of the fused kernels."""

from essnet.losses.plain.engine import plain_loss_sum

__all__ = ["plain_loss_sum"]

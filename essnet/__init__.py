"""Find out which embedding dimension and how many neighbours a large-vocabulary segmentation needs."""

__version__ = "0.1.0"

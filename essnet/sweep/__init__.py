"""Sweeps: which trials there are, how they are searched, and running them on Ray Tune."""

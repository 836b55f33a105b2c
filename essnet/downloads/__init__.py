"""Published data sets: where they are, how they come over the network, and how they are laid out on disk."""

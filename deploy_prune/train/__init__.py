"""Training and judging: the only training loop of the package."""

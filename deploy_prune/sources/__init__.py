"""From an address to a network, its weights and its data."""

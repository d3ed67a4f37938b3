"""The way from an address to a network, its weights and its data."""

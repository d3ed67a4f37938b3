"""Bundles: what an app team drops in, and what says that nothing of it was changed since."""

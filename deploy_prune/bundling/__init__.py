"""Bundles: what an app team drops in."""

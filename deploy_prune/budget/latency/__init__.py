"""Milliseconds of a network at any widths, without a converter or a timing in the loop: sampled, fitted, stored."""

"""Files of a network for each format, and the proof that they compute the same."""

"""The latency gate: whether a file may take the place of another."""

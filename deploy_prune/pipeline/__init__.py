"""The road from a configuration to verified, timed files."""

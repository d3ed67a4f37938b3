"""Files are run and timed."""

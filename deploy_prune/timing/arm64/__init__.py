"""A small arm64 system with Python and the runtimes, for what runs files elsewhere than here."""

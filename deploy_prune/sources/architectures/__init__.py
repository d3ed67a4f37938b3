"""Networks that no library ships in the form pruning needs; the plugins in `models` are their addresses."""

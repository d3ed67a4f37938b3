"""Scripts that make every figure under `results/`; each prints, records, and fails where a limit is missed."""

"""The report that people look at: one self-contained HTML file per run, and per front."""

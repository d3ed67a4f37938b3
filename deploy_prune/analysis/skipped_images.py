"""Says which images of a run were not used, for its report."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.records import read_record
from deploy_prune.run_folder import SPLITS
from deploy_prune.values import SplitRecord

NAMED = 5
"""How many skipped images of a split are named."""


def write_skipped_images(run: Path) -> str:
    """One sentence with the images of each split that were skipped, and why; empty: none was, so far.

    Raises:
        RecordError: the record of the run's images is damaged.
    """
    splits = read_record(run / SPLITS, dict[str, SplitRecord]) if (run / SPLITS).exists() else {}
    parts = []
    for name, split in splits.items():
        shown = ", ".join(f"{each.name} {each.why}" for each in split.broken[:NAMED])
        more = f", and {len(split.broken) - NAMED} more, see {SPLITS}" if len(split.broken) > NAMED else ""
        parts += [f"{len(split.broken)} of {split.images:,} in {name} ({shown}{more})"] if split.broken else []
    return f"Images that were skipped, for which others stood in: {'; '.join(parts)}." if parts else ""

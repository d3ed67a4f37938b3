"""A report says which images of which split were skipped, and why; the first few by name."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.analysis.skipped_images import write_skipped_images
from deploy_prune.records import write_record
from deploy_prune.run_folder import SPLITS
from deploy_prune.values import BrokenImage, SplitRecord


def test_skipped_images_are_told_by_split(tmp_path: Path) -> None:
    assert write_skipped_images(tmp_path) == ""
    broken = [BrokenImage(f"a/{number}.png", "cannot be decoded", number) for number in range(7)]
    splits = {
        "train": SplitRecord(2000, "0", broken=tuple(broken)),
        "val": SplitRecord(9, "0"),
        "test": SplitRecord(9, "0", broken=(BrokenImage("b/1.png", "is empty, or gone"),)),
    }
    write_record(tmp_path / SPLITS, splits, dict[str, SplitRecord])
    named = ", ".join(f"a/{number}.png cannot be decoded" for number in range(5))
    assert write_skipped_images(tmp_path) == (
        "Images that were skipped, for which others stood in: "
        f"7 of 2,000 in train ({named}, and 2 more, see splits.json); 1 of 9 in test (b/1.png is empty, or gone)."
    )

"""LeGR searches that are small, and workers that are killed or count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy_prune import plugins
from deploy_prune.records import read_record
from deploy_prune.scoring.study import Study
from deploy_prune.search_results import SEARCH, SearchRecord

SETTINGS: dict[str, Any] = {
    "candidates": 14, "population": 5, "tournament": 2, "images": 60, "norm_images": 40, "lag": 3,
    "importance": "norm", "judge": "steps", "steps": 0, "finalists": 0,
}  # fmt: skip
"""A small search in the way of the paper."""


def scores(of: Study, **options: Any) -> dict[str, np.ndarray]:
    return dict(plugins.build("methods", "legr", {**SETTINGS, **options}).score(of).by_group)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def journal(folder: Path) -> SearchRecord:
    return read_record(folder / SEARCH, SearchRecord)


@dataclass
class Killed:
    """Workers that are killed after so many results."""

    after: int

    def map(self, task: Any, shared: Any, items: Any, *, ahead: int) -> Iterator[Any]:
        for result in plugins.build("workers", "local", {"processes": 1}).map(task, shared, items, ahead=ahead):
            if not self.after:
                raise KeyboardInterrupt
            self.after -= 1
            yield result


@dataclass
class Counting:
    """Workers that count what is really judged."""

    judged: int = 0

    def map(self, task: Any, shared: Any, items: Any, *, ahead: int) -> Iterator[Any]:
        def counted(given: Any, item: Any) -> Any:
            self.judged += item[1] is None
            return task(given, item)

        yield from plugins.build("workers", "local", {"processes": 1}).map(counted, shared, items, ahead=ahead)

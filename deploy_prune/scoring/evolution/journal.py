"""A search's journal: every candidate with its fitness, on disk after each, from which a killed search goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy_prune.errors import RecordError
from deploy_prune.records import read_record, write_record
from deploy_prune.search_results import SEARCH, CandidateResult, SearchRecord
from deploy_prune.train.fitness import Fitness


class Journal:
    """Of one search; in memory alone, where there is no folder."""

    def __init__(self, path: Path | None, earlier: SearchRecord) -> None:
        self._path = path
        self._search = SearchRecord(earlier.identity)
        self._written = len(earlier.tried), len(earlier.finals)
        self._known = {(each.plan, final): _fitness(each)
                       for final, found in enumerate((earlier.tried, earlier.finals)) for each in found}  # fmt: skip

    @staticmethod
    def of(folder: Path | None, identity: str) -> Journal:
        """A new one, or the one that an interrupted search has left.

        Raises:
            RecordError: it is damaged, or of another search.
        """
        path = folder / SEARCH if folder else None
        if path is None or not path.exists():
            return Journal(path, SearchRecord(identity))
        found = read_record(path, SearchRecord)
        if found.identity != identity:
            hint = "remove it to search from the start"
            raise RecordError(f"{path} is of another search (other weights, images or settings)", hint=hint)
        return Journal(path, found)

    def known(self, plan: str, *, final: bool = False) -> Fitness | None:
        """What this plan was found to be, by this search or before it was interrupted."""
        return self._known.get((plan, final))

    def add(self, tried: CandidateResult, *, final: bool = False) -> None:
        """One more result."""
        before = self._search
        self._search = (
            replace(before, finals=(*before.finals, tried)) if final else replace(before, tried=(*before.tried, tried))
        )
        self._known.setdefault((tried.plan, final), _fitness(tried))

    def last(self, count: int) -> Sequence[CandidateResult]:
        """The latest results."""
        return self._search.tried[-count:]

    def write(self, **standing: Any) -> None:
        """Put the results on disk with where the search stands; what it only repeats is there already."""
        self._search = replace(self._search, **standing)
        if self._path and (len(self._search.tried), len(self._search.finals)) >= self._written:
            write_record(self._path, self._search)


def digest(keep: Mapping[str, Sequence[int]]) -> str:
    """Of a plan."""
    listed = [(name, list(map(int, units))) for name, units in sorted(keep.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _fitness(tried: CandidateResult) -> Fitness:
    return Fitness(math.inf if tried.loss is None else tried.loss, tried.value, tried.seconds)

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
    """The journal of one search; it is kept in memory alone, where there is no folder."""

    def __init__(self, path: Path | None, earlier: SearchRecord) -> None:
        self._path = path
        self._search = SearchRecord(earlier.identity)
        self._written = len(earlier.tried), len(earlier.finals)
        self._known = {(each.plan, final): _fitness_of(each)
                       for final, rows in enumerate((earlier.tried, earlier.finals)) for each in rows}  # fmt: skip

    @staticmethod
    def of(folder: Path | None, identity: str) -> Journal:
        """Begin a journal, or go on with the one that an interrupted search has left.

        Raises:
            RecordError: the journal is damaged, or of another search.
        """
        path = folder / SEARCH if folder else None
        if path is None or not path.exists():
            return Journal(path, SearchRecord(identity))
        earlier = read_record(path, SearchRecord)
        if earlier.identity != identity:
            hint = "remove it to search from the start"
            raise RecordError(f"{path} is of another search (other weights, images or settings)", hint=hint)
        return Journal(path, earlier)

    def recall(self, plan: str, *, final: bool = False) -> Fitness | None:
        """Look up what this plan was found to be, by this search or before it was interrupted; None: it is new."""
        return self._known.get((plan, final))

    def add(self, tried: CandidateResult, *, final: bool = False) -> None:
        """Note one more result."""
        before = self._search
        self._search = (
            replace(before, finals=(*before.finals, tried)) if final else replace(before, tried=(*before.tried, tried))
        )
        self._known.setdefault((tried.plan, final), _fitness_of(tried))

    def last(self, count: int) -> Sequence[CandidateResult]:
        """The latest results."""
        return self._search.tried[-count:]

    def write(self, **standing: Any) -> None:
        """Put the results on disk with where the search stands; what it only repeats is there already."""
        self._search = replace(self._search, **standing)
        if self._path and (len(self._search.tried), len(self._search.finals)) >= self._written:
            write_record(self._path, self._search)


def digest(keep: Mapping[str, Sequence[int]]) -> str:
    """Digest a plan: 16 hexadecimal digits, alike for plans that keep the same units."""
    listed = [(name, list(map(int, units))) for name, units in sorted(keep.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _fitness_of(tried: CandidateResult) -> Fitness:
    return Fitness(math.inf if tried.loss is None else tried.loss, tried.value, tried.seconds)

"""Values of schema 1 are recognised by their keys wherever they stand, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

from deploy_prune.records import read_record
from deploy_prune.schema_1 import Rule, rename, upgrade
from deploy_prune.search_results import SearchRecord

RULES = (Rule(frozenset({"old_ms", "runs"}), rename({"old_ms": "new"}, unit="ms")),)


def test_a_value_is_renewed_wherever_it_stands() -> None:
    before = {"rows": [{"old_ms": 1.5, "runs": 2}], "old_ms": 3}
    assert upgrade(before, RULES) == {"rows": [{"new": 1.5, "runs": 2, "unit": "ms"}], "old_ms": 3}
    assert before == {"rows": [{"old_ms": 1.5, "runs": 2}], "old_ms": 3}


def test_inner_values_are_renewed_first() -> None:
    outer = {"old_ms": {"old_ms": 1, "runs": 1}, "runs": 1}
    assert upgrade(outer, RULES) == {"new": {"new": 1, "runs": 1, "unit": "ms"}, "runs": 1, "unit": "ms"}


def test_a_record_is_read_under_the_name_that_its_class_had(tmp_path: Path) -> None:
    document = {"schema": 1, "kind": "Search", "value": {"identity": "abc"}}
    (tmp_path / "search.json").write_text(json.dumps(document))
    assert read_record(tmp_path / "search.json", SearchRecord) == SearchRecord("abc")

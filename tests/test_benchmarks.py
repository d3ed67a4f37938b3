"""Every record under `benchmarks/results/` can be made anew: it names its script, and that script its limits."""

from __future__ import annotations

import importlib.util
import json

import pytest

from benchmarks.recording import RESULTS
from benchmarks.tables import SECTIONS

RECORDS = sorted(RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_the_script_that_made_it(path):
    record = json.loads(path.read_text())
    interpreter, flag, module, *_ = record["command"].split()
    assert (interpreter, flag) == ("python", "-m")
    assert module == f"benchmarks.{path.stem}"
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_which_machine_it_is_from(path):
    record = json.loads(path.read_text())
    assert record["schema"] == 1
    assert {"processor", "cores", "python", "packages"} <= set(record["machine"])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_results_page_shows_every_record(path):
    assert path.stem in SECTIONS

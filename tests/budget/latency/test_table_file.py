"""A latency table as a file predicts what it did where it was measured; one that cannot be is refused, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latencies import REFERENCE_MS, made_up, ratios
from nets import NETS

from deploy_prune.budget.latency.model import LatencyCost, fit_model
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import find_model, find_profile
from deploy_prune.budget.latency.table_file import read_table, write_table
from deploy_prune.errors import Inconclusive, InputError, NotProfiled, RecordError
from deploy_prune.graph import trace

HERE = Place("litert", "phone")
Damage = Callable[[dict[str, Any]], None]


@pytest.fixture
def file(table, tmp_path: Path) -> Path:
    write_table(table, tmp_path / "table.json")
    return tmp_path / "table.json"


def damaged(file: Path, damage: Damage) -> Path:
    """The file, edited by hand."""
    document = json.loads(file.read_text())
    damage(document["value"])
    file.write_text(json.dumps(document))
    return file


def test_an_imported_table_predicts_what_it_did_where_it_was_measured(store, table, graph, file):
    read_table(file, store)
    there, here = fit_model(table), find_model(graph, HERE.target, store)
    draw = np.random.default_rng(0)
    widths = draw.integers(2, [group.width + 1 for group in graph.free], size=(50, len(graph.free)))
    assert np.array_equal(LatencyCost.of(here, graph)(widths), LatencyCost.of(there, graph)(widths))
    assert here.error == there.error


def test_predictions_are_close_to_the_truth_that_the_samples_were_made_of(store, graph, file, table):
    read_table(file, store)
    cost = LatencyCost.of(find_model(graph, HERE.target, store), graph)
    draw = np.random.default_rng(1)
    widths = draw.integers(6, [group.width + 1 for group in graph.free], size=(200, len(graph.free)))
    truth = ratios(table.drawing, widths) * REFERENCE_MS
    assert np.abs(cost(widths) / truth - 1).mean() < 0.01


def test_raw_times_stay_where_they_were_taken(file):
    assert all(each["comparison"] is None for each in json.loads(file.read_text())["value"]["samples"])


def test_an_imported_table_takes_the_place_of_the_one_before(store, graph, table, file):
    longer = made_up(graph, samples=90)
    store.begin(longer)
    store.add(longer, *longer.samples)
    read_table(file, store)
    assert find_profile(graph, HERE.target, store) == table


def test_the_device_may_be_called_otherwise(store, graph, file):
    read_table(file, store, device="pixel6")
    assert find_profile(graph, Place("litert", "pixel6").target, store).target.device == "pixel6"
    with pytest.raises(NotProfiled, match="has no milliseconds of this network on phone with litert, 1 threads, fp32"):
        find_model(graph, HERE.target, store)


def test_the_table_of_another_network_is_not_used(store, file):
    read_table(file, store)
    with pytest.raises(NotProfiled, match="no milliseconds of this network") as refused:
        find_model(trace(NETS["plain"]()), HERE.target, store)
    assert "deploy-prune profile" in refused.value.hint


def sets(key: str, value: Any) -> Damage:
    """Damages one of the samples."""
    return lambda table: table["samples"][7].update({key: value})


IMPOSSIBLE: dict[str, Damage] = {
    "a negative time": sets("ratio", -0.5),
    "no time": sets("ratio", 0.0),
    "a time that is no number": sets("ratio", float("nan")),
    "a time without end": sets("ratio", float("inf")),
    "an interval that is no number": sets("interval", [0.1, float("nan")]),
    "a ratio outside of its interval": sets("interval", [0.0001, 0.0002]),
    "a text where a ratio belongs": sets("ratio", "fast"),
    "wider than the network": sets("widths", [22, 2, 2]),
    "no channels": sets("widths", [0, 2, 2]),
    "another number of groups": sets("widths", [2, 2]),
    "a width that is not whole": sets("widths", [2.5, 2, 2]),
    "an operator beyond all numbers": sets("operator", 10**30),
    "an operator that the network does not have": sets("operator", 99),
    "an input without a size": sets("input_shape", [3, 0, 8]),
    "an input beyond all sizes": sets("input_shape", [3, 8, 10**30]),
    "threads beyond all numbers": lambda table: table["target"].update(threads=10**30),
    "a negative reference": lambda table: table.update(reference=-1.0),
    "a reference that is no number": lambda table: table.update(reference=float("nan")),
    "no samples": lambda table: table.update(samples=[]),
    "lines of other groups": lambda table: [line.pop() for line in table["drawing"]["lines"]],
    "lines of unlike lengths": lambda table: table["drawing"]["lines"][0].append(1),
    "no lines": lambda table: table["drawing"].update(lines=[]),
    "lines that are not whole": lambda table: table["drawing"]["lines"][0].__setitem__(0, 0.5),
    "lines beyond all numbers": lambda table: table["drawing"]["lines"][0].__setitem__(0, 10**30),
    "places that lead nowhere": lambda table: table["drawing"]["operators"][0].update(channels_out=9999),
    "negative places": lambda table: table["drawing"]["operators"][0].update(weight=[-7, -8]),
    "a weighted operator that reads nothing": lambda table: table["drawing"]["operators"][0].update(inputs=[]),
    "an operator that writes nothing": lambda table: table["drawing"]["operators"][0].update(outputs=[]),
    "an unknown kind": lambda table: table["drawing"]["operators"][0].update(kind="fast"),
    "another format": lambda table: table["drawing"].update(format="coreml"),
    "no drawing": lambda table: table.pop("drawing"),
}  # fmt: skip


@pytest.mark.parametrize("damage", IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))
def test_a_table_that_cannot_be_is_refused_and_nothing_is_imported(store, file, damage):
    with pytest.raises(InputError) as refused:
        read_table(damaged(file, damage), store)
    assert refused.value.exit_code == 2
    assert store.profiles() == ()


def test_a_refused_table_leaves_the_one_before_as_it_was(store, graph, table, file):
    read_table(file, store)
    with pytest.raises(RecordError, match=f"{file} is no latency table to rely on: a sample takes -1"):
        read_table(damaged(file, sets("ratio", -1.0)), store)
    assert find_profile(graph, HERE.target, store) == table


def test_samples_that_contradict_one_another_are_inconclusive(store, file):
    """Times of chance: no model fits them."""
    draw = np.random.default_rng(0)

    def shuffle(table: dict[str, Any]) -> None:
        for each in table["samples"]:
            ratio = float(draw.uniform(0.1, 1))
            each.update(ratio=ratio, interval=[ratio, ratio])

    with pytest.raises(Inconclusive, match="errs by"):
        read_table(damaged(file, shuffle), store)
    assert store.profiles() == ()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_and_named(store, file, share):
    text = file.read_text()
    file.write_text(text[: int(share * len(text))])
    with pytest.raises(RecordError, match=f"{file} is damaged"):
        read_table(file, store)
    assert store.profiles() == ()


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\xff", b"[1, 2]", b'{"schema": 1, "value": {}}', b"null"])
def test_a_foreign_file_is_refused_and_named(store, file, content):
    file.write_bytes(content)
    with pytest.raises(RecordError, match=str(file)):
        read_table(file, store)


def test_a_missing_file_is_refused_and_named(store, tmp_path):
    with pytest.raises(RecordError, match=r"nothing\.json does not exist"):
        read_table(tmp_path / "nothing.json", store)

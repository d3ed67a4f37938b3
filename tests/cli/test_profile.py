"""`profile` says what was measured and how far predictions may be off; what is not here it does not measure."""

from __future__ import annotations

import json

import pytest
from latencies import Phone, renamed

from deploy_prune import __main__
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.store import open_store
from deploy_prune.timing.devices import THIS_MACHINE

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(phone: Phone) -> Phone:
    """The table as if it had been measured on this machine."""
    target = Place("litert", THIS_MACHINE).target
    table = renamed(phone.table, device=target.device, runtime_version=target.runtime_version)
    with open_store(phone.store) as store:
        store.begin(table)
        store.add(table, *table.samples)
    return phone


def command(phone: Phone, *flags: str) -> list[str]:
    return ["profile", phone.model, "--input-shape", "3,8,8", "--store", str(phone.store), *flags]


def test_what_was_measured_is_not_measured_again_and_shown(here: Phone, capsys: Captured) -> None:
    assert __main__.run(command(here)) == 0
    said = capsys.readouterr()
    for text in (f"Cost of {here.model}", "8.000 ms", "64", str(here.store), "rank correlation"):
        assert text in said.out
    assert said.err == ""


def test_with_json_the_figures_are_one_document(here: Phone, capsys: Captured) -> None:
    assert __main__.run(command(here, "--json")) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["network"], found["samples"], found["reference_ms"]) == (here.model, 64, 8.0)
    assert found["target"]["runtime"] == "litert" and found["store"] == str(here.store)
    assert 0 < found["error"]["mean"] < found["error"]["p95"] < 0.06
    assert said.err == ""


def test_too_few_samples_are_refused_as_a_flag(phone: Phone, capsys: Captured) -> None:
    assert __main__.run(command(phone, "--samples", "8")) == 2
    assert "32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--device", "phone"], 2, "'phone' is no device that files can be timed on"),
        (["--threads", "1,2"], 2, "one thread count"),
        (["--runtime", "litert2"], 2, "unknown runtime 'litert2'"),
        (["--runtime", "executorch"], 2, "no milliseconds are predicted for runtime 'executorch'"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    phone: Phone, capsys: Captured, flags: list[str], code: int, said: str
) -> None:
    assert __main__.run(command(phone, *flags)) == code
    assert said in capsys.readouterr().err

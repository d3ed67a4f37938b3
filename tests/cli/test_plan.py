"""`plan` shows what is within reach, before any training, from a table that came from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from latencies import Phone

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def imported(phone: Phone, capsys: Captured) -> Phone:
    assert __main__.run(["latency", "import", str(phone.file), "--store", str(phone.store)]) == 0
    capsys.readouterr()
    return phone


def cells(said: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]


def test_the_range_and_a_row_per_budget_are_shown(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", imported.model, *imported.place, "--budget", "6ms,0.5x"]) == 0
    said = capsys.readouterr().out
    title = f"{imported.model} on litert 2.3.0, 1 threads, phone"
    assert "".join(title.split()) in "".join(said.split())  # long paths are wrapped
    rows = {row[0]: row[1:] for row in cells(said)}
    (dense,), (least,) = rows["dense network"], rows["smallest within reach"]
    assert re.fullmatch(r"[78]\.\d{3} ms", dense) and re.fullmatch(r"\d\.\d{3} ms \(0\.\d{3}x\)", least)
    for budget, limit in (("6ms", 6.0), ("0.5x", 0.5 * float(dense[:5]))):
        predicted, ratio, macs, params = rows[budget]
        ms, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", predicted).groups())
        assert low < ms < high and ms <= limit * 1.03
        assert all(re.fullmatch(r"0\.\d{3}x", each) for each in (ratio, macs, params))
    assert rows["mean error of the model"][0].endswith("(64 plans timed)")


def test_without_a_budget_there_are_eight_rows(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", imported.model, *imported.place]) == 0
    budgets = [row[0] for row in cells(capsys.readouterr().out) if row[0].endswith("ms")]
    assert len(budgets) == 8 and budgets == sorted(budgets, key=lambda text: -float(text[:-2]))


def test_the_channels_are_shown_when_asked_for(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", imported.model, *imported.place, "--budget", "0.5x", "--widths"]) == 0
    rows = {row[0]: row[1:] for row in cells(capsys.readouterr().out)}
    (stem,), (up,) = rows["stem.0"], rows["up.0"]
    assert 2 <= int(stem) <= 16 and 3 <= int(up) <= 24 and int(stem) + int(up) < 40


def test_widths_keep_to_a_multiple(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", imported.model, *imported.place, "--budget", "0.6x", "--multiple", "8", "--json"]) == 0
    (option,) = json.loads(capsys.readouterr().out)["outlook"]["options"]
    assert all(width % 8 == 0 for width in option["widths"].values())


def test_json_is_one_document(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", imported.model, *imported.place, "--budget", "0.5x", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)["outlook"]
    assert found["target"]["device"] == "phone" and 0 < found["least_ms"] < found["dense_ms"]
    (option,) = found["options"]
    assert option["predicted_ms"] <= 0.52 * found["dense_ms"] and set(option["widths"]) == {"stem.0", "up.0"}
    assert found["inputs"] == []
    assert said.err == ""


@pytest.mark.parametrize(("budget", "what"), [("0.01ms", "below the smallest"), ("80ms", "not below the dense")])
def test_an_impossible_budget_is_refused_with_what_is_within_reach(
    imported: Phone, capsys: Captured, budget: str, what: str
) -> None:
    assert __main__.run(["plan", imported.model, *imported.place, "--json"]) == 0
    reach = json.loads(capsys.readouterr().out)["outlook"]
    assert __main__.run(["plan", imported.model, *imported.place, "--budget", budget]) == 2
    said = capsys.readouterr()
    assert said.out == "" and what in said.err
    assert f"from {reach['least_ms']:.3g} to {reach['dense_ms']:.3g} ms are within reach" in said.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--budget", "fast"], "'fast' is no budget"),
        (["--budget", "150MMACs"], "is no budget in milliseconds"),
        (["--budget", "5ms,"], "empty name"),
        (["--threads", "1,2"], "one thread count"),
        (["--threads", "0"], "--threads"),
        (["--runtime", "litert2"], "unknown runtime 'litert2'"),
        (["--method", "unifrom"], "unknown method 'unifrom'"),
        (["--scope", "outer"], "unknown scope 'outer'"),
        (["--input-shape", "8,8"], "has 2 numbers"),
    ],
)
def test_flags_that_cannot_be_are_refused(imported: Phone, capsys: Captured, flags: list[str], said: str) -> None:
    place = imported.place
    if flags[0] in place:
        first = place.index(flags[0])
        place = [*place[:first], *place[first + 2 :]]
    assert __main__.run(["plan", imported.model, *place, *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_device_without_an_address_and_a_table_says_how(phone: Phone, capsys: Captured) -> None:
    assert __main__.run(["plan", phone.model, *phone.place]) == 2
    said = capsys.readouterr().err
    assert "'phone' is no device that files can be timed on" in said and "deploy-prune latency import" in said


def test_another_input_is_another_network(imported: Phone, capsys: Captured) -> None:
    flags = [each if each != "3,8,8" else "3,16,16" for each in imported.place]
    assert __main__.run(["plan", imported.model, *flags]) == 2
    assert "no milliseconds of this network" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["plan"], ["latency", "show"], ["latency", "export"], ["profile"], ["prune"]])
def test_a_device_that_is_none_is_refused_by_every_verb_before_any_work(
    imported: Phone, capsys: Captured, verb: list[str], tmp_path: Path
) -> None:
    out = {"export": [str(tmp_path / "out.json")], "prune": ["--data", "digits", "--out", str(tmp_path / "run")]}
    flags = [*out.get(verb[-1], []), "--device", "cuda", "--store", str(imported.store)]
    assert __main__.run([*verb, imported.model, *flags]) == 2
    said = capsys.readouterr().err
    assert "'cuda' is no device that files can be timed on" in said and "known: adb, local" in said
    assert not (tmp_path / "out.json").exists()

"""Tables say what was measured and what was not; progress goes to stderr and stays quiet with JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_prune.cli import output
from deploy_prune.cli.bench import show_measurements
from deploy_prune.cli.export import show_shipments
from deploy_prune.values import (
    Artifact,
    Conditions,
    Delegation,
    Interval,
    Lines,
    Measurement,
    NetworkIdentity,
    Parity,
    Shipment,
    Target,
)

Captured = pytest.CaptureFixture[str]

QUIET = Conditions(load=0.1, frequency_mhz=None, governor=None, temperature_c=None, affinity=(0,))
MEASUREMENT = Measurement(
    artifact="a.tflite",
    target=Target("local", "litert", "2.3.0", 1, "fp32"),
    session="s",
    unit="ms",
    blocks=((1.0, 1.2),),
    median=1.1,
    interval=(1.05, 1.15),
    p90=1.2,
    load_ms=8.04,
    peak_memory_bytes=69_400_000,
    runtime_memory_bytes=50_000_000,
    before=QUIET,
    after=QUIET,
)
ARTIFACT = Artifact(
    path="out/model.onnx",
    format="onnx",
    network=NetworkIdentity("net", digest="1"),
    runtime="onnxruntime",
    size_bytes=8_830_000,
    sha256="0",
    input_shape=(3, 32, 32),
    layout="nchw",
    dynamic_batch=False,
    precision="fp32",
    exporter="torch 2",
    seconds=1.0,
)
PARITY = Parity(passed=True, max_error=1.8e-06, tolerance=1e-4, agreement=1.0, ties=1, images=256)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_a_single_file_is_compared_with_nothing(capsys: Captured) -> None:
    show_measurements((MEASUREMENT,))
    (row,) = rows(capsys.readouterr().out)
    assert row == ["a.tflite", "litert 2.3.0", "1", "1.100 [1.050, 1.150]", "1.200", "8.0", "69"]


def test_what_a_delegate_left_over_is_said(capsys: Captured) -> None:
    whole, parted = Delegation(taken=8, operators=8, partitions=1), Delegation(taken=6, operators=8, partitions=2)
    show_measurements((replace(MEASUREMENT, delegation=whole),))
    assert "delegate" not in capsys.readouterr().out
    show_measurements((replace(MEASUREMENT, delegation=parted),))
    assert "a.tflite: the delegate took 6 of 8 operators, in 2 parts" in capsys.readouterr().out


OTHER = replace(MEASUREMENT, artifact="b.tflite", ratio=0.5, ratio_interval=(0.45, 0.55))
ONNX = replace(
    MEASUREMENT,
    artifact="a.onnx",
    target=replace(MEASUREMENT.target, runtime="onnxruntime"),
    format_base="a.tflite",
    format_ratio=1.1,
    format_ratio_interval=(1.05, 1.15),
)


def test_networks_of_one_format_have_a_table_of_their_own(capsys: Captured) -> None:
    show_measurements((MEASUREMENT, ONNX, OTHER))
    text = capsys.readouterr().out
    _, _, compared = text.partition("Networks of one format")
    networks, _, _ = compared.partition("Formats of one network")
    assert rows(networks) == [
        ["a.tflite", "litert", "1", "", "first"],
        ["b.tflite", "litert", "1", "0.500 [0.450, 0.550]", "faster"],
    ]


def test_formats_of_one_network_have_a_table_of_their_own(capsys: Captured) -> None:
    show_measurements((MEASUREMENT, OTHER, ONNX))
    assert rows(capsys.readouterr().out.partition("Formats of one network")[2]) == [
        ["a.tflite", "tflite", "1", "1.100", "", "first"],
        ["a.onnx", "onnx", "1", "1.100", "1.100 [1.050, 1.150]", "slower"],
    ]


@pytest.mark.parametrize(
    ("interval", "result"),
    [((0.9, 0.99), "faster"), ((1.01, 1.2), "slower"), ((0.9, 1.1), "level"), ((0.9, 1.0), "level")],
)
def test_nobody_wins_where_the_interval_reaches_1(capsys: Captured, interval: Interval, result: str) -> None:
    show_measurements((MEASUREMENT, replace(ONNX, format_ratio_interval=interval)))
    assert rows(capsys.readouterr().out)[-1][-1] == result


def test_the_tables_of_a_run_fit_in_120_columns(capsys: Captured) -> None:
    """The names are those that files have in a run folder."""
    onnx = replace(ONNX, target=replace(ONNX.target, runtime_version="1.31.1"))
    files = [replace(onnx, artifact=f"run/export-1/{stem}.onnx", ratio=0.5, ratio_interval=(0.45, 0.55))
             for stem in ("dense", "pruned")]  # fmt: skip
    show_measurements((replace(MEASUREMENT, artifact="run/export-1/dense.tflite"), *files))
    assert max(len(line.rstrip()) for line in capsys.readouterr().out.splitlines()) <= 120


def test_a_failed_format_shows_its_reason_in_place_of_its_file(capsys: Captured) -> None:
    failed = Shipment("tflite", "failed", reason="the converter refused: op [bold]aten::x[/bold]")
    show_shipments((Shipment("onnx", "verified", ARTIFACT, PARITY), failed))
    good, bad = rows(capsys.readouterr().out)
    assert good == ["onnx", "verified", "fp32", "8.83", "1.0", "1.8e-06", "100.0% of 256 (1 ties)", "out/model.onnx"]
    assert bad == ["tflite", "failed", "-", "-", "-", "-", "-", "the converter refused: op [bold]aten::x[/bold]"]


def test_json_holds_all_of_a_measurement(capsys: Captured) -> None:
    output.show_json(measurements=(MEASUREMENT,))
    (record,) = json.loads(capsys.readouterr().out)["measurements"]
    assert record["target"] == {
        "device": "local",
        "runtime": "litert",
        "runtime_version": "2.3.0",
        "threads": 1,
        "precision": "fp32",
    }
    assert record["blocks"] == [[1.0, 1.2]]
    assert record["ratio"] is None


def test_json_is_one_line_for_pipes(capsys: Captured) -> None:
    output.show_json(run=Path("run"), values=[1, 2])
    assert capsys.readouterr().out == '{"run": "run", "values": [1, 2]}\n'


def test_with_json_progress_is_silent(capsys: Captured) -> None:
    with output.show_progress(as_json=True) as told:
        told("train", 1, 3)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_progress_is_lines_on_stderr(capsys: Captured) -> None:
    with output.show_progress(as_json=False) as told:
        told("train", 1, 3, "loss 0.5")
        told("train", 2, 3)
        told("train", 3, 3)
    assert capsys.readouterr() == ("", "train: 1/3  loss 0.5\ntrain: 3/3\n")


def test_a_long_task_reports_every_ten_seconds(capsys: Captured) -> None:
    clock = iter([0.0, 4.0, 9.9, 10.0, 15.0])
    told = Lines(lambda: next(clock))
    for done in range(5):
        told("train", done, 100)
    assert capsys.readouterr().err == "train: 0/100\ntrain: 3/100  about 5 min left\n"


def test_a_task_that_was_begun_before_is_estimated_from_there_and_begins_anew_when_it_is_done(capsys: Captured) -> None:
    clock = iter([0.0, 20.0, 25.0, 30.0])
    told = Lines(lambda: next(clock))
    told("train", 90, 100)
    told("train", 95, 100, "loss 0.5")
    told("train", 100, 100)
    told("train", 0, 100)
    assert capsys.readouterr().err.splitlines() == [
        "train: 90/100",
        "train: 95/100  loss 0.5, about 20 s left",
        "train: 100/100",
        "train: 0/100",
    ]


def test_on_a_terminal_progress_is_a_bar_with_a_note(capsys: Captured) -> None:
    with output._show_bars() as told:
        told("train", 1, 2, "[loss]")
        told("train", 2, 2, "[loss]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "train" in captured.err
    assert "2/2" in captured.err
    assert "[loss]" in captured.err

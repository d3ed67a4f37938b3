"""A candidate is a file, or what a run exported in the baseline's format, with the accuracy of its record."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from finished import RUN, page, shipped

from deploy_prune.analysis.gating.candidates import PRUNED, find_candidate
from deploy_prune.errors import ConfigError, InputError
from deploy_prune.records import write_record
from deploy_prune.results import ShipResult


@pytest.fixture
def run(tmp_path: Path, tiny_onnx: Path, tiny_tflite: Path) -> Path:
    """A run that exported two formats."""
    page(RUN, tmp_path)
    files = {"onnx": tiny_onnx, "tflite": tiny_tflite}
    rows = []
    for stem in ("dense", "pruned"):
        for suffix, file in files.items():
            (tmp_path / "export-1").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "export-1" / f"{stem}.{suffix}")
        rows.append(tuple(shipped(stem, 1, suffix=suffix) for suffix in files))
    write_record(tmp_path / "shipped-1.json", ShipResult(*rows))
    return tmp_path


def test_a_run_gives_its_pruned_file_and_its_accuracy(run: Path) -> None:
    artifact, quality = find_candidate(run, "tflite")
    assert artifact.path == str(run / "export-1" / "pruned.tflite")
    assert quality == RUN.test.pruned


def test_a_file_that_was_not_verified_is_refused_by_name(run: Path) -> None:
    dense, pruned = (
        tuple(shipped(stem, 1, suffix=suffix) for suffix in ("onnx", "tflite")) for stem in ("dense", PRUNED)
    )
    failed = (pruned[0], dataclasses.replace(pruned[1], status="failed", reason="computes something else"))
    write_record(run / "shipped-1.json", ShipResult(dense, failed))
    with pytest.raises(InputError, match=r"pruned.tflite: .*computes something else"):
        find_candidate(run, "tflite")


def test_a_file_is_itself(tiny_onnx: Path) -> None:
    artifact, quality = find_candidate(tiny_onnx, "tflite")
    assert (artifact.path, quality) == (str(tiny_onnx), None)


@pytest.mark.parametrize("format_", [None, "coreml"])
def test_a_run_of_several_formats_needs_one_that_it_has(format_: str | None, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"has pruned files in (onnx, tflite|tflite, onnx): which is meant\?"):
        find_candidate(run, format_)

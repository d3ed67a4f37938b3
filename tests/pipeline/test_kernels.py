"""Kernels that dkp removes within layers: they stay removed, and records and the report say what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinyrun import config

from deploy_prune.analysis import report
from deploy_prune.pipeline.run import prune
from deploy_prune.results import RunSummary
from deploy_prune.sources import checkpoint

DKP: dict[str, Any] = {
    "method": "dkp", "method_options": {"heads": 0, "images": 64, "batch_size": 32, "steps": 4, "rate": 0.4},
}  # fmt: skip


@pytest.fixture(scope="module")
def kernels(sources: Path) -> tuple[Path, RunSummary]:
    return sources / "dkp", prune(config(sources, **DKP, budget="0.7x"), sources / "dkp")


@pytest.mark.heavy
def test_masks_outlive_the_whole_run(kernels: tuple[Path, RunSummary]) -> None:
    """Cut, norms measured anew, fine-tuned, saved and loaded."""
    network = checkpoint.load(kernels[0])
    assert sorted(network.masks) == ["down.0.weight", "up.0.weight"]
    for name, mask in network.masks.items():
        weight = network.module.get_parameter(name)
        assert mask.shape == weight.shape
        assert 0 < int(mask.sum()) < mask.numel()
        assert weight[~mask].abs().max() == 0


@pytest.mark.heavy
def test_results_say_that_it_is_a_reconstruction(kernels: tuple[Path, RunSummary]) -> None:
    run, summary = kernels
    assert summary.plan.method == "dkp (reconstructed) at widths of 'uniform'"
    assert "by dkp (reconstructed)" in report.report(run)


@pytest.mark.heavy
def test_removed_kernels_are_theoretical_macs_and_nothing_else(kernels: tuple[Path, RunSummary]) -> None:
    """64 positions x the kernels that are left, and the layers without a mask; the cut network's own MACs are dense."""
    run, summary = kernels
    network = checkpoint.load(run / "cut")
    gone = sum(64 * int((~mask).sum()) for mask in network.masks.values())
    assert summary.cut.kernel_macs == summary.cut.count.macs - gone
    assert summary.cut.count.macs == summary.cut.predicted_macs
    assert "theoretical MACs without removed kernels" in report.report(run)
    assert all(np.isfinite(value) for value in (summary.cut.kernel_macs, summary.test.pruned.value))


@pytest.mark.heavy
def test_a_run_without_kernels_says_nothing_of_them(sources: Path) -> None:
    summary = prune(config(sources, method="magnitude"), sources / "magnitude")
    assert summary.cut.kernel_macs is None
    assert "theoretical" not in report.report(sources / "magnitude")

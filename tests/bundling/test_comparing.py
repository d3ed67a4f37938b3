"""Two bundles: what an app team has to know before it takes the new one."""

from __future__ import annotations

from pathlib import Path

from bundled import make_run

from deploy_prune.bundling.bundle import bundle
from deploy_prune.bundling.comparing import compare_bundles
from deploy_prune.bundling.order import BundleOrder


def test_equal_bundles_have_no_difference(tmp_path: Path) -> None:
    order = BundleOrder((make_run(tmp_path / "run"),), formats=("onnx",))
    assert compare_bundles(bundle(order, tmp_path / "a"), bundle(order, tmp_path / "b")) == ()


def test_variants_that_come_go_and_change_are_told(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(("kept", "old", "new"))]
    before = bundle(BundleOrder(tuple(runs[:2]), formats=("onnx",), apps=("ios",)), tmp_path / "a")
    runs[0] = make_run(tmp_path / "anew" / "kept", seed=7, accuracy=0.95)
    after = bundle(BundleOrder((runs[0], runs[2]), formats=("onnx",), apps=("ios",)), tmp_path / "b")
    rows = {(each.where, each.what): (each.old, each.new) for each in compare_bundles(before, after)}
    assert rows["kept", "accuracy"][0].startswith("top-1 90.00%") and "95.00%" in rows["kept", "accuracy"][1]
    assert "kept, onnx" in {where for where, _ in rows} and ("kept, onnx", "needs") not in rows
    assert rows["old", "accuracy"][1] == "" and rows["new", "accuracy"][0] == ""
    assert rows["new, onnx", "ms on local, 1 threads"] == ("", "1.01 [0.9999, 1.02]")


def test_a_changed_contract_comes_first(tmp_path: Path) -> None:
    order = BundleOrder((make_run(tmp_path / "run"),), formats=("onnx",))
    old = bundle(order, tmp_path / "a")
    new = bundle(BundleOrder(order.runs, "other", formats=("onnx",)), tmp_path / "b")
    assert [(each.what, each.old, each.new) for each in compare_bundles(old, new)][:1] == [("name", "model", "other")]

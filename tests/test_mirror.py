"""Where a module is tested: in the file of its name, in the folder of its package, or where the table below says."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from deploy_prune import plugins

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "deploy_prune"
CONTRACTS = "contracts/test_*.py"
"""One file per kind of plugin, for all of its plugins."""

ELSEWHERE = {
    "analysis/devices.py": "cli/test_devices.py",
    "analysis/describe.py": "contracts/test_readers.py",
    "analysis/gating/session.py": "analysis/gating/test_gate.py",
    "analysis/explanation.py": "analysis/test_explain.py",
    "analysis/whole_files.py": "analysis/test_explain.py",
    "analysis/layer_times.py": "analysis/test_explain.py",
    "analysis/page/*.py": "analysis/page/test_writing.py",
    "analysis/report_curves.py": "pipeline/test_curves.py",
    "analysis/report_front.py": "analysis/page/test_writing.py",
    "analysis/report_refit.py": "analysis/test_report.py",
    "analysis/report_times.py": "analysis/test_report.py",
    "analysis/slowdown.py": "analysis/test_explain.py",
    "budget/costs/latency.py": "contracts/test_costs.py",
    "budget/costs/*.py": "budget/costs/test_static_costs.py",
    "budget/latency/model.py": "budget/latency/test_table_file.py",
    "budget/latency/place.py": "budget/latency/test_table_file.py",
    "budget/latency/resizable.py": "contracts/test_templates.py",
    "budget/latency/store_schema.py": "budget/latency/test_store.py",
    "budget/latency/table.py": "budget/latency/test_table_file.py",
    "budget/latency/timer.py": "budget/latency/test_profiling.py",
    "bundling/apps.py": "bundling/test_bundle.py",
    "bundling/order.py": "bundling/test_bundle.py",
    "bundling/readme.py": "bundling/test_bundle.py",
    "bundling/runs.py": "bundling/test_bundle.py",
    "bundling/variant_files.py": "bundling/test_bundle.py",
    "bundling/writing.py": "bundling/test_bundle.py",
    "cli/history.py": "cli/test_gate.py",
    "cli/flags.py": "cli/test_prune.py",
    "cli/ending.py": "cli/test_main.py",
    "cli/finetune.py": "pipeline/test_run_again.py",
    "cli/refit.py": "pipeline/test_refit_again.py",
    "cli/report.py": "cli/test_main.py",
    "cli/sensitivity.py": "scoring/test_sensitivity.py",
    "cli/trusting.py": "test_trust.py",
    "exporting/converter.py": "exporting/parity/test_divergence.py",
    "exporting/metadata.py": "contracts/test_exporters.py",
    "exporting/parity/*.py": "exporting/parity/test_verification.py",
    "exporting/rewriting/call.py": "exporting/rewriting/test_forms.py",
    "formats/mil/*.py": "formats/mil/test_operators.py",
    "formats/onnx_opsets.py": "exporting/exporters/test_onnx.py",
    "formats/pte.py": "analysis/readers/test_executorch.py",
    "formats/templates/*.py": "contracts/test_templates.py",
    "formats/tensor_names.py": "exporting/test_app_interface.py",
    "formats/tflite_*.py": "exporting/exporters/test_tflite.py",
    "formats/xnnpack_graph.py": "analysis/readers/test_executorch.py",
    "graph/filter_norms.py": "scoring/methods/test_baselines.py",
    "graph/groups.py": "graph/test_locks.py",
    "graph/recount.py": "graph/test_zoo.py",
    "graph/*.py": "graph/test_features.py",
    "pipeline/context.py": "pipeline/test_run.py",
    "pipeline/dense_files.py": "pipeline/test_front.py",
    "pipeline/ship_stage.py": "pipeline/test_run.py",
    "pipeline/deciders.py": "pipeline/test_decide.py",
    "pipeline/max_drop.py": "pipeline/test_front.py",
    "pipeline/parts.py": "pipeline/test_decide.py",
    "pipeline/plan_stage.py": "pipeline/test_run.py",
    "pipeline/preflight.py": "cli/test_bad_input.py",
    "pipeline/priced.py": "pipeline/test_decide.py",
    "pipeline/publishing.py": "pipeline/test_run.py",
    "pipeline/refit_stage.py": "pipeline/test_run_refit.py",
    "pipeline/stages.py": "pipeline/test_run_training.py",
    "processes/workers/*.py": "contracts/test_workers.py",
    "processes/workshop/*.py": "processes/test_workshop.py",
    "results.py": "pipeline/test_run.py",
    "scoring/obs/*readers.py": "scoring/obs/test_readings.py",
    "scoring/discrimination/*.py": "scoring/methods/test_dcp.py",
    "scoring/evolution/*.py": "scoring/methods/test_legr.py",
    "scoring/methods/*.py": "scoring/methods/test_baselines.py",
    "scoring/study.py": "contracts/test_methods.py",
    "search_results.py": "pipeline/test_front.py",
    "sources/architectures/*.py": "sources/models/test_architectures.py",
    "sources/data.py": "sources/datasets/test_datasets.py",
    "sources/datasets/*.py": "sources/datasets/test_datasets.py",
    "sources/models/*.py": "sources/models/test_architectures.py",
    "sources/photographs.py": "sources/datasets/test_datasets.py",
    "timing/bench.py": "analysis/test_bench.py",
    "timing/client.py": "analysis/test_bench.py",
    "timing/elsewhere.py": "exporting/test_on_device.py",
    "timing/inbox.py": "timing/test_runner.py",
    "timing/runtimes/*.py": "contracts/test_runtimes.py",
    "timing/describing.py": "contracts/test_devices.py",
    "timing/remote/*.py": "timing/devices/test_ssh.py",
    "timing/ssh/*.py": "timing/devices/test_ssh.py",
    "timing/adb/*.py": "timing/devices/test_adb.py",
    "timing/talk.py": "analysis/test_bench.py",
    "timing/wire.py": "timing/test_runner.py",
    "timing/worker.py": "analysis/test_bench.py",
    "timing/arm64/system.py": "timing/simulator/test_setting_up.py",
    "timing/simulator/emulator.py": "timing/devices/test_sim.py",
    "timing/simulator/tools.py": "timing/simulator/test_cycles.py",
    "train/batches.py": "train/test_evaluation.py",
    "train/few_steps.py": "train/test_fitness.py",
    "train/masks.py": "train/test_loop.py",
    "train/precision.py": "train/test_loop.py",
    "train/refit/*.py": "train/refit/test_walk.py",
    "train/recalibration.py": "train/test_evaluation.py",
    "train/recipe.py": "train/test_loop.py",
    "train/state.py": "train/test_loop.py",
    "train/guarded_hooks.py": "cli/test_bad_input.py",
    "values/*.py": "test_records.py",
    "version.py": "test_packaging.py",
}
"""Modules without a file of their own -> the tests that hold what they promise; the first pattern that fits counts."""

ACROSS = {
    "analysis/page/test_in_browser.py": "pages in a real browser",
    "bundling/test_kotlin.py": "the Kotlin that bundles carry",
    "bundling/test_swift.py": "the Swift that bundles carry",
    "graph/test_traps.py": "forward passes that look at their channels in every way, settled, planned, cut and checked",
    "pipeline/test_run_outputs.py": "networks of every kind of output, cut by OBS without labels",
    "pipeline/test_run_tasks.py": "runs without labels, and of networks with several outputs",
    "cli/test_fronts.py": "fronts and largest drops, as `prune` is told of them",
    "cli/test_bad_files.py": "weights and images that a user hands in, whichever module notices what is wrong",
    "cli/test_bad_input.py": "names, flags, configurations and hooks that are wrong, whichever module notices it",
    "cli/test_bad_runs.py": "plans, run folders and machines that do not fit, whichever module notices it",
    "exporting/exporters/test_old_runtimes.py": "files of today on runtimes of before",
    "pipeline/test_kernels.py": "kernels that dkp removes within layers, in cuts, records and the report",
    "pipeline/test_run_killed.py": "runs that are killed at any stage",
    "pipeline/test_run_simulated.py": "runs whose budgets are of simulated cores",
    "pipeline/test_run_on_device.py": "a run whose milliseconds are all of another device",
    "pipeline/test_run_profiled.py": "runs under a budget in milliseconds, which begin by timing",
    "pipeline/test_runs_of_before.py": "run folders of the version before",
    "pipeline/test_select.py": "widths by one method, units by another, wherever a plan is made",
    "scoring/methods/test_legr_interrupted.py": "searches that are killed and go on",
    "scoring/methods/test_on_architectures.py": "every method on real architectures",
    "train/test_shared_data.py": "training on real photographs, where they are there",
    "timing/runtimes/test_layers.py": "times of single layers, from every runtime that gives them",
}
"""Tests of what many modules do together."""

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.stem[0] != "_")
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))


def own_tests(module: str) -> str:
    folder, _, name = module.rpartition("/")
    return f"{folder}/test_{name}".lstrip("/")


def pattern_of(module: str) -> str | None:
    return next((pattern for pattern in ELSEWHERE if fnmatch(module, pattern)), None)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_tests_where_one_looks_for_them(module: str) -> None:
    assert own_tests(module) in FILES or pattern_of(module), f"write tests/{own_tests(module)}"


@pytest.mark.parametrize("file", [file for file in FILES if "/" in file and not fnmatch(file, CONTRACTS)])
def test_tests_lie_in_the_folder_of_what_they_test(file: str) -> None:
    folder, _, name = file.rpartition("/")
    subject = PACKAGE / folder / name.removeprefix("test_")
    named = subject.is_file() or subject.with_suffix("").is_dir()
    assert named or file in {*ELSEWHERE.values(), *ACROSS}, "name the module that it is about"


def test_no_row_is_about_what_is_not_there_any_more() -> None:
    used = {pattern_of(module) for module in MODULES if own_tests(module) not in FILES}
    assert not set(ELSEWHERE) - used
    assert not {*ELSEWHERE.values(), *ACROSS} - set(FILES)


@pytest.mark.parametrize("kind", plugins.PACKAGES)
def test_every_kind_of_plugin_has_a_contract_that_all_of_its_plugins_keep(kind: str) -> None:
    assert f"contracts/test_{kind}.py" in FILES

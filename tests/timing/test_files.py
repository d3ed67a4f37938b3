"""What a list of files and run folders comes to: which files are timed, which are left out and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tinyrun import exported

from deploy_prune.errors import InputError, MissingDependency, RecordError
from deploy_prune.records import read_record, write_record
from deploy_prune.results import ShipResult
from deploy_prune.timing.files import choose
from deploy_prune.timing.runtimes.onnxruntime import OnnxRuntime

SHIPPED = "shipped-1.json"


def names(found: tuple[Path, ...]) -> list[str]:
    return [f"{path.parent.name}/{path.name}" for path in found]


def test_a_run_stands_for_its_files_format_by_format_dense_first(
    tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    run = exported(tmp_path / "run", [tiny_tflite, tiny_onnx])
    found = choose([run])
    assert names(found.files) == [
        "export-1/dense.tflite",
        "export-1/pruned.tflite",
        "export-1/dense.onnx",
        "export-1/pruned.onnx",
    ]
    assert all(path.is_file() for path in found.files)
    assert not found.skipped


def test_files_and_runs_mix_in_the_order_they_are_given(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    found = choose([str(tiny_onnx), run, tiny_onnx])
    assert (found.files[0], found.files[3]) == (tiny_onnx, tiny_onnx)
    assert names(found.files[1:3]) == ["export-1/dense.onnx", "export-1/pruned.onnx"]


def test_the_last_round_that_was_exported_counts_by_number(tiny_onnx: Path, tmp_path: Path) -> None:
    for number in (2, 10, 9):
        exported(tmp_path / "run", [tiny_onnx], number=number)
    assert names(choose([tmp_path / "run"]).files) == ["export-10/dense.onnx", "export-10/pruned.onnx"]


def test_what_is_not_timed_here_is_skipped_with_the_reason(
    tiny_onnx: Path, tiny_mlpackage: Path, tmp_path: Path
) -> None:
    found = choose([exported(tmp_path / "run", [tiny_onnx, tiny_mlpackage])])
    assert len(found.files) == 2
    assert [Path(each.path).name for each in found.skipped] == ["dense.mlpackage", "pruned.mlpackage"]
    assert all("Core ML runs on Apple devices" in each.reason for each in found.skipped)


def test_a_package_that_is_named_is_a_file_and_no_run(tiny_mlpackage: Path) -> None:
    with pytest.raises(InputError, match=r"tiny\.mlpackage is not timed: Core ML"):
        choose([tiny_mlpackage])


def test_a_file_that_failed_verification_is_skipped(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    shipped = read_record(run / SHIPPED, ShipResult)
    wrong = replace(shipped.pruned[0], status="failed", reason="computes something else\nby far")
    write_record(run / SHIPPED, replace(shipped, pruned=(wrong,)))
    found = choose([run])
    assert names(found.files) == ["export-1/dense.onnx"]
    assert [each.reason for each in found.skipped] == ["it failed verification: computes something else"]


def test_a_format_whose_runtime_is_not_installed_is_skipped_with_the_command_that_installs_it(
    tiny_onnx: Path, tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: OnnxRuntime) -> str:
        raise MissingDependency("onnxruntime", "onnxruntime")

    monkeypatch.setattr(OnnxRuntime, "version", missing)
    found = choose([exported(tmp_path / "run", [tiny_tflite, tiny_onnx])])
    assert names(found.files) == ["export-1/dense.tflite", "export-1/pruned.tflite"]
    assert all("pip install 'deploy-prune[onnxruntime]'" in each.reason for each in found.skipped)


def test_a_run_of_which_nothing_can_be_timed_is_refused_with_the_reasons(tiny_mlpackage: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file of the run .* \(dense\.mlpackage: Core ML runs on Apple"):
        choose([exported(tmp_path / "run", [tiny_mlpackage])])


def test_a_file_of_a_run_that_is_gone_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / "export-1" / "pruned.onnx").unlink()
    with pytest.raises(InputError, match=r"export-1/pruned\.onnx does not exist"):
        choose([run])


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is no run folder(.|\n)*run\.json"):
        choose([tmp_path])


def test_a_run_that_has_not_come_to_its_export_is_refused_with_what_to_do(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / SHIPPED).unlink()
    with pytest.raises(RecordError, match=r"has exported no files yet(.|\n)*continue it"):
        choose([run])


def test_a_run_that_was_to_export_nothing_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"exported no files(.|\n)*deploy-prune export"):
        choose([exported(tmp_path / "run", [])])


def test_a_damaged_record_of_a_run_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / SHIPPED).write_text('{"schema": 1, "kin')
    with pytest.raises(RecordError, match=r"shipped-1\.json is damaged"):
        choose([run])

"""What a list of files and run folders comes to: which files are timed, which are left out and why."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from absent import uninstall
from tinyrun import exported

from deploy_prune import plugins
from deploy_prune.analysis.artifacts import choose_artifacts, describe_artifact
from deploy_prune.errors import InputError, RecordError
from deploy_prune.exporting.identity import identify
from deploy_prune.records import read_record, write_record
from deploy_prune.results import ShipResult
from deploy_prune.values import FP32, Artifact, Network

SHIPPED = "shipped-1.json"


def names(artifacts: tuple[Artifact, ...]) -> list[str]:
    paths = [Path(each.path) for each in artifacts]
    return [f"{path.parent.name}/{path.name}" for path in paths]


@pytest.mark.heavy
def test_a_run_stands_for_its_files_format_by_format_dense_first(
    tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    run = exported(tmp_path / "run", [tiny_tflite, tiny_onnx])
    found = choose_artifacts([run])
    assert names(found.artifacts) == [
        "export-1/dense.tflite",
        "export-1/pruned.tflite",
        "export-1/dense.onnx",
        "export-1/pruned.onnx",
    ]
    assert all(Path(each.path).is_file() for each in found.artifacts)
    assert not found.skipped


@pytest.mark.heavy
def test_files_and_runs_mix_in_the_order_they_are_given(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    found = choose_artifacts([str(tiny_onnx), run, tiny_onnx])
    assert found.artifacts[0].path == found.artifacts[3].path == str(tiny_onnx)
    assert names(found.artifacts[1:3]) == ["export-1/dense.onnx", "export-1/pruned.onnx"]


@pytest.mark.heavy
def test_the_last_round_that_was_exported_counts_by_number(tiny_onnx: Path, tmp_path: Path) -> None:
    for number in (2, 10, 9):
        exported(tmp_path / "run", [tiny_onnx], number=number)
    assert names(choose_artifacts([tmp_path / "run"]).artifacts) == ["export-10/dense.onnx", "export-10/pruned.onnx"]


def test_what_is_not_timed_here_is_skipped_with_the_reason(
    tiny_onnx: Path, tiny_mlpackage: Path, tmp_path: Path
) -> None:
    found = choose_artifacts([exported(tmp_path / "run", [tiny_onnx, tiny_mlpackage])])
    assert len(found.artifacts) == 2
    assert [Path(each.path).name for each in found.skipped] == ["dense.mlpackage", "pruned.mlpackage"]
    assert all("Core ML runs on Apple devices" in each.reason for each in found.skipped)


def test_a_package_that_is_named_is_a_file_and_no_run(tiny_mlpackage: Path) -> None:
    with pytest.raises(InputError, match=r"tiny\.mlpackage is not timed: Core ML"):
        choose_artifacts([tiny_mlpackage])


def test_a_file_that_failed_verification_is_skipped(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    shipped = read_record(run / SHIPPED, ShipResult)
    wrong = replace(shipped.pruned[0], status="failed", reason="computes something else\nby far")
    write_record(run / SHIPPED, replace(shipped, pruned=(wrong,)))
    found = choose_artifacts([run])
    assert names(found.artifacts) == ["export-1/dense.onnx"]
    assert [each.reason for each in found.skipped] == ["it failed verification: computes something else"]


def test_a_format_whose_runtime_is_not_installed_is_skipped_with_the_command_that_installs_it(
    tiny_onnx: Path, tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "onnxruntime")
    found = choose_artifacts([exported(tmp_path / "run", [tiny_tflite, tiny_onnx])])
    assert names(found.artifacts) == ["export-1/dense.tflite", "export-1/pruned.tflite"]
    assert all("pip install 'deploy-prune[onnxruntime]'" in each.reason for each in found.skipped)


def test_a_run_of_which_nothing_can_be_timed_is_refused_with_the_reasons(tiny_mlpackage: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file of the run .* \(dense\.mlpackage: Core ML runs on Apple"):
        choose_artifacts([exported(tmp_path / "run", [tiny_mlpackage])])


def test_a_file_of_a_run_that_is_gone_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / "export-1" / "pruned.onnx").unlink()
    with pytest.raises(InputError, match=r"export-1/pruned\.onnx does not exist"):
        choose_artifacts([run])


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is no run folder(.|\n)*run\.json"):
        choose_artifacts([tmp_path])


def test_a_run_that_has_not_come_to_its_export_is_refused_with_what_to_do(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / SHIPPED).unlink()
    with pytest.raises(RecordError, match=r"has exported no files yet(.|\n)*continue it"):
        choose_artifacts([run])


def test_a_run_that_was_to_export_nothing_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"exported no files(.|\n)*deploy-prune export"):
        choose_artifacts([exported(tmp_path / "run", [])])


def test_a_damaged_record_of_a_run_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    run = exported(tmp_path / "run", [tiny_onnx])
    (run / SHIPPED).write_text('{"schema": 1, "kin')
    with pytest.raises(RecordError, match=r"shipped-1\.json is damaged"):
        choose_artifacts([run])


FORMATS = {
    "tflite": "litert", "onnx": "onnxruntime", "pte": "executorch", "mlpackage": "coreml", "aimodel": "coreai",
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_we_wrote_names_its_network_its_precision_and_its_runtime(
    suffix: str, tiny_network: Network, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    written: Path = request.getfixturevalue(f"tiny_{suffix}")
    moved = tmp_path / f"called otherwise.{suffix}"
    if written.is_dir():
        shutil.copytree(written, moved)
    else:
        shutil.copy(written, moved)
    described = describe_artifact(moved)
    assert described.network.digest == described.network.key == identify(tiny_network).digest
    assert (described.precision, described.runtime) == (FP32, FORMATS[suffix])


@pytest.mark.heavy
def test_half_precision_is_seen_in_the_file_itself(tiny_network: Network, tmp_path: Path) -> None:
    plugins.build("exporters", "coreml").write(tiny_network, tmp_path / "net.mlpackage", precision="fp16")
    assert describe_artifact(tmp_path / "net.mlpackage").precision == "fp16"


def test_a_file_of_somebody_else_is_a_network_of_its_own(tiny_onnx: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_onnx)
    model.ClearField("metadata_props")
    for name in ("one.onnx", "other.onnx"):
        onnx.save(model, tmp_path / name)
    one, other = (describe_artifact(tmp_path / name) for name in ("one.onnx", "other.onnx"))
    assert one.network.digest == other.network.digest == ""
    assert one.network.key != other.network.key
    assert one.precision == FP32


def test_a_file_that_cannot_be_read_is_left_to_its_runtime(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no protobuf" * 9)
    described = describe_artifact(tmp_path / "net.onnx")
    assert (described.runtime, described.precision, described.network.digest) == ("onnxruntime", "unknown", "")


def test_a_file_of_no_known_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'\.pt'(.|\n)*\.onnx, \.pte, \.tflite"):
        describe_artifact(tmp_path / "net.pt")

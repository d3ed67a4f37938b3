"""`explain` on the command line: its verdict, one JSON document, and what is not two files of one format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tinyconv import conv_network
from tinyrun import exported

from deploy_prune import __main__, plugins
from deploy_prune.analysis.explain import explain
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.cli.explain import show_verdict
from deploy_prune.errors import NoSpeedUp
from deploy_prune.timing.fake_device import FakeDevice

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network's file, and one of four times its channels."""
    folder = tmp_path_factory.mktemp("pair")
    for name, width in (("small", 4), ("large", 16)):
        plugins.build("exporters", "onnx").write(conv_network(width), folder / f"{name}.onnx")
    return folder / "small.onnx", folder / "large.onnx"


def on_fake_device(before: Path, after: Path) -> tuple[Explanation, ...]:
    """What there is to say of two files that take a microsecond per byte."""
    return explain(before, after, device=FakeDevice(lambda path: 1e-3 * path.stat().st_size))


@pytest.mark.heavy
def test_a_file_that_is_faster_is_exit_code_0_and_ends_in_the_sentence(
    pair: tuple[Path, Path], capsys: Captured
) -> None:
    small, large = pair
    assert show_verdict(on_fake_device(large, small)) == 0
    said = capsys.readouterr()
    assert f"{large}->{small}" in "".join(said.out.split())  # long paths are wrapped
    assert "one-operator files" in said.out
    assert "x as fast: " in said.out.strip().splitlines()[-1]
    assert "error" not in said.err


@pytest.mark.heavy
def test_a_file_that_is_slower_is_explained_before_it_is_refused(pair: tuple[Path, Path], capsys: Captured) -> None:
    small, large = pair
    with pytest.raises(NoSpeedUp, match=r"not faster: large\.onnx: no speed-up") as refused:
        show_verdict(on_fake_device(small, large), every=True)
    said = capsys.readouterr().out
    last = said.strip().splitlines()[-1]
    assert last.startswith("no speed-up: ") and last.endswith("as good as no multiply-adds are gone.")
    assert "more layers" not in said
    assert refused.value.exit_code == 6
    assert "--multiple 16" in refused.value.hint


@pytest.mark.heavy
def test_on_a_simulated_core_columns_are_of_its_unit(pair: tuple[Path, Path], capsys: Captured) -> None:
    small, large = pair
    device = FakeDevice(lambda path: 1e3 * path.stat().st_size, "simulated Cortex-A72 cycles", exact=True)
    assert show_verdict(explain(large, small, device=device)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cycles before" in said and "simulated Cortex-A72 cycles before, after" in said
    assert re.search(r"\d\.\d{3}M", said) and " ms" not in said


@pytest.mark.heavy
def test_with_json_the_verdict_is_part_of_the_one_document(pair: tuple[Path, Path], capsys: Captured) -> None:
    small, large = pair
    assert show_verdict(on_fake_device(small, large), as_json=True) == 6
    document = json.loads(capsys.readouterr().out)
    (found,) = document["explanations"]
    assert document["error"]["kind"] == "NoSpeedUp" and document["error"]["exit_code"] == 6
    assert found["sentence"] in document["error"]["message"]
    assert sum(pair["after"]["ms"] for pair in found["layers"] if pair["after"]) == pytest.approx(found["after_ms"])


@pytest.mark.heavy
def test_a_run_gives_one_explanation_per_format(tiny_onnx: Path, tmp_path: Path, capsys: Captured) -> None:
    """A file is held against itself on this machine: any outcome is right, as noise has it."""
    run = exported(tmp_path / "run", [tiny_onnx])
    code = __main__.run(["explain", str(run), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code in {0, 5, 6} and ("error" in document) == (code != 0)
    if code != 5:  # which is a machine too noisy to time on
        assert [Path(each["after"]).name for each in document["explanations"]] == ["pruned.onnx"]


def refused(arguments: list[Path | str], capfd: Captured) -> str:
    capfd.readouterr()
    assert __main__.run(["explain", *map(str, arguments)]) == 2
    said = capfd.readouterr()
    assert said.err.startswith("error: ") and "Traceback" not in said.err
    assert said.out == ""
    return said.err


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "foreign": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "empty": lambda _: b"",
}


@pytest.mark.heavy
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_damaged_file_is_named(
    suffix: str, damage: str, tmp_path: Path, capfd: Captured, request: pytest.FixtureRequest
) -> None:
    good: Path = request.getfixturevalue(f"tiny_{suffix}")
    bad = tmp_path / f"bad.{suffix}"
    bad.write_bytes(DAMAGES[damage](good.read_bytes()))
    assert str(bad) in refused([good, bad], capfd).splitlines()[0] + refused([bad, good], capfd).splitlines()[0]


def test_two_formats_are_refused(tiny_onnx: Path, tiny_tflite: Path, capfd: Captured) -> None:
    said = refused([tiny_onnx, tiny_tflite], capfd)
    assert f"{tiny_onnx} and {tiny_tflite} are of two formats" in said and "bench" in said


def test_a_missing_file_is_refused(tiny_onnx: Path, tmp_path: Path, capfd: Captured) -> None:
    missing = tmp_path / "nothing.onnx"
    assert f"{missing} does not exist" in refused([tiny_onnx, missing], capfd)
    assert f"{missing} does not exist" in refused([missing], capfd)


def test_one_file_or_a_folder_too_many_is_refused(tiny_onnx: Path, tmp_path: Path, capfd: Captured) -> None:
    assert f"{tiny_onnx} is one file" in refused([tiny_onnx], capfd)
    assert f"{tmp_path} is a folder, and there is another path" in refused([tmp_path, tiny_onnx], capfd)
    assert "is no run folder" in refused([tmp_path], capfd)


@pytest.mark.heavy
def test_files_that_nothing_takes_apart_are_timed_as_a_whole(tiny_pte: Path, capfd: Captured) -> None:
    assert __main__.run(["explain", str(tiny_pte), str(tiny_pte), "--json"]) in {0, 6}
    (told,) = json.loads(capfd.readouterr().out)["explanations"]
    assert told["macs_ratio"] is None and told["layers"] == [] and told["appeared"] == []
    assert "nothing here takes executorch files apart" in told["sentence"]
    assert told["interval"][0] <= told["ratio"] <= told["interval"][1]


def test_another_precision_is_refused_with_what_to_do(tiny_network: object, tmp_path: Path, capfd: Captured) -> None:
    """Every multiply-add of an empty network is of no layer that has weights."""
    import onnx
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", tensors[:1], tensors[1:])
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert "a .onnx file whose weights are unknown cannot be taken apart" in refused([path, path], capfd)

from __future__ import annotations

import itertools
import queue
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tinyconv import conv_network
from tinyrun import exported

from deploy_prune import plugins, stats
from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.bench import bench, group_by_network, group_by_target, list_best_threads
from deploy_prune.errors import ConfigError, InputError, MissingLibrary, Unavailable
from deploy_prune.timing import conditions, talk
from deploy_prune.timing.client import start_worker
from deploy_prune.timing.devices import Job
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import NetworkIdentity

DEVICE = FakeDevice(lambda path: 1e-3 * path.stat().st_size)
"""A device on which an inference takes as many microseconds as its file has bytes."""


@pytest.fixture
def sized(tmp_path):
    """Files of which nothing but the size counts: 2000, 3000 and 5000 bytes."""
    paths = [tmp_path / f"{size}.onnx" for size in (2000, 3000, 5000)]
    for path in paths:
        path.write_bytes(bytes(int(path.stem)))
    return paths


def test_a_file_against_itself_is_even_and_a_larger_network_slower(sized):
    small, _, large = sized
    first, again, larger = bench([small, small, large], blocks=6, device=DEVICE)
    assert first.ratio is None and first.ratio_interval is None
    assert (again.ratio, again.ratio_interval) == (1.0, (1.0, 1.0))
    assert (larger.ratio, larger.ratio_interval) == (2.5, (2.5, 2.5))
    assert (first.median, larger.median) == (2.0, 5.0)


def slower_with_every_block():
    """A device that takes 1 % longer for each block than for the one before, whichever file it is of."""
    blocks = itertools.count()
    return FakeDevice(lambda path: 1e-3 * path.stat().st_size * 1.01 ** next(blocks))


def test_the_first_file_stands_around_every_block_of_the_others(sized):
    small, larger, _ = sized
    first, *others = bench([small, larger, small], blocks=4, device=slower_with_every_block())
    assert first.brackets == () and first.repeated == 0
    for other in others:
        assert other.blocks == tuple(bracket.candidate for bracket in other.brackets)
        assert other.ratio == stats.median([bracket.ratio for bracket in other.brackets])
        assert len(other.brackets) == 4 and other.repeated == 0
    around = [bracket.after for pair in zip(*(other.brackets for other in others), strict=True) for bracket in pair]
    assert first.blocks == tuple(around)
    assert len(set(first.blocks)) == 8


def test_readings_of_two_candidates_are_compared_through_the_reference(tiny_tflite, tiny_onnx):
    """The first .onnx file is not the reference of the session: each counts as the ratio of its own bracket."""
    _, base, other = bench([tiny_tflite, tiny_onnx, tiny_onnx], blocks=3, device=slower_with_every_block())
    assert base.ratio is None and len(base.brackets) == 3
    pairs = zip(other.brackets, base.brackets, strict=True)
    assert other.ratio == stats.median([mine.ratio / theirs.ratio for mine, theirs in pairs])


def test_no_files_give_no_measurements():
    assert bench([]) == ()


def test_a_module_beside_the_user_does_not_take_a_librarys_place(tiny_tflite, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise ImportError('not the library')")
    monkeypatch.chdir(tmp_path)
    assert len(bench([tiny_tflite], blocks=3)) == 1


def test_everything_around_a_measurement_is_recorded(tiny_tflite):
    (found,) = bench([str(tiny_tflite)], blocks=3)
    assert (found.target.device, found.target.runtime, found.target.threads) == (conditions.fingerprint(), "litert", 1)
    assert found.target.runtime_version == plugins.build("runtimes", "litert").version()
    assert len(found.blocks) == 3 and all(len(block) >= 5 for block in found.blocks)
    assert found.interval[0] <= found.median <= found.interval[1]
    assert found.p90 >= found.median * 0.9
    assert found.load_ms > 0
    assert found.before.affinity == found.after.affinity == conditions.list_allowed_cores()[:1]


def test_memory_is_the_workers_own(tiny_tflite):
    """The parent has torch loaded (hundreds of MB), which Linux's ru_maxrss would hand on to the worker."""
    ballast = bytearray(600_000_000)
    (found,) = bench([tiny_tflite], blocks=3)
    assert len(ballast) > 4 * found.peak_memory_bytes
    assert found.peak_memory_bytes >= found.runtime_memory_bytes > 10_000_000


def test_no_ratio_across_runtimes(tiny_tflite, tiny_onnx):
    """Each runtime has a first file of its own; all share the session."""
    found = bench([tiny_tflite, tiny_onnx, tiny_tflite, tiny_onnx], blocks=3, device=DEVICE)
    assert [each.ratio is None for each in found] == [True, True, False, False]
    assert len({each.session for each in found}) == 1


def test_no_ratio_across_thread_counts(tiny_onnx):
    told = []
    found = bench([tiny_onnx], threads=(1, 2), blocks=3, device=DEVICE, progress=lambda *step: told.append(step[1:3]))
    assert [(each.target.threads, each.ratio) for each in found] == [(1, None), (2, None)]
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.heavy
def test_a_format_is_compared_with_the_first_format_of_the_same_network(tiny_onnx, tiny_tflite, tmp_path):
    """However the files are called, as they name their network; not with another network, and not with itself."""
    renamed, lookalike = tmp_path / "b/renamed.tflite", tmp_path / "tiny.onnx"
    renamed.parent.mkdir()
    shutil.copy(tiny_tflite, renamed)
    plugins.build("exporters", "onnx").write(conv_network(7), lookalike)
    found = bench([tiny_onnx, renamed, tiny_onnx, lookalike], blocks=3, device=slower_with_every_block())
    assert [each.format_base for each in found] == [None, str(tiny_onnx), None, None]
    assert [each.ratio is None for each in found] == [True, True, False, False]
    first, other = found[:2]
    assert first.format_ratio is None and first.format_ratio_interval is None
    ratios = [bracket.ratio for bracket in other.brackets]
    assert other.format_ratio == stats.median(ratios)
    assert other.format_ratio_interval == stats.bootstrap(ratios, stats.median, seed=0)
    assert group_by_network(found) == [[first, other]]
    assert group_by_target(found) == [[first, *found[2:]]]


def test_the_number_of_threads_that_is_fastest_is_named_where_intervals_tell(tiny_onnx, tiny_tflite):
    """Times are set by hand: the first file is fastest with two threads, of the second nothing is told apart."""
    times = {(1, tiny_onnx): (2.0, (1.9, 2.1)), (2, tiny_onnx): (1.5, (1.4, 1.6)), (4, tiny_onnx): (3.0, (2.9, 3.1)),
             (1, tiny_tflite): (2.0, (1.9, 2.1)), (2, tiny_tflite): (1.9, (1.8, 2.0)),
             (4, tiny_tflite): (2.5, (2.4, 2.6))}  # fmt: skip
    taken = bench([tiny_onnx, tiny_tflite], threads=(1, 2, 4), blocks=3, device=DEVICE)
    found = [replace(each, median=median, interval=interval) for each in taken
             for median, interval in [times[each.target.threads, Path(each.artifact)]]]  # fmt: skip
    assert [(Path(each.artifact), each.target.threads) for each in list_best_threads(found)] == [(tiny_onnx, 2)]
    assert list_best_threads(found[:2]) == [], "one number of threads is compared with nothing"


def test_files_that_name_no_network_are_no_formats_of_one_whatever_they_are_called(tiny_onnx, tiny_tflite):
    """An artifact says which network it is of; its file's name says nothing."""
    one, other = (describe_artifact(path) for path in (tiny_onnx, tiny_tflite))
    nameless = [replace(each, network=NetworkIdentity(each.path)) for each in (one, other)]
    assert [each.format_base for each in bench(nameless, blocks=3, device=DEVICE)] == [None, None]


def test_the_precision_of_a_measurement_is_that_of_the_artifact(tiny_onnx):
    halved = replace(describe_artifact(tiny_onnx), precision="fp16")
    full, half = bench([tiny_onnx, halved], blocks=3, device=DEVICE)
    assert (full.target.precision, half.target.precision) == ("fp32", "fp16")
    assert full.ratio is None and half.ratio is None


def test_formats_are_not_compared_across_thread_counts(tiny_onnx, tiny_tflite):
    found = bench([tiny_onnx, tiny_tflite], threads=(2, 1), blocks=3, device=DEVICE)
    assert [each.format_ratio is None for each in found] == [True, False, True, False]
    for base, other in (found[:2], found[2:]):
        assert base.brackets == ()
        assert other.format_ratio == stats.median([bracket.ratio for bracket in other.brackets])


def test_a_run_folder_is_timed_and_what_is_not_is_said(tiny_onnx, tiny_mlpackage, tmp_path, caplog):
    run = exported(tmp_path / "run", [tiny_onnx, tiny_mlpackage])
    found = bench([run], blocks=3, device=DEVICE)
    assert [Path(each.artifact).name for each in found] == ["dense.onnx", "pruned.onnx"]
    assert [each.ratio is None for each in found] == [True, False]
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2 and all(line.startswith(f"skipped {run}/export-1/") for line in lines)


def test_more_threads_than_cores_are_timed_and_said_to_be(tiny_onnx, caplog):
    (found,) = bench([tiny_onnx], threads=(3,), blocks=3, device=DEVICE)
    assert (found.target.threads, found.before.affinity) == (3, (0, 1))
    assert "3 threads share 2 cores" in caplog.text


def test_no_threads_are_refused(tiny_onnx):
    with pytest.raises(ConfigError, match="0 threads"):
        bench([tiny_onnx], threads=(0,))


def test_too_few_blocks_are_refused(tiny_onnx):
    with pytest.raises(ConfigError, match="2 blocks"):
        bench([tiny_onnx], blocks=2)


def test_a_missing_file_is_refused_before_any_worker_starts(tiny_onnx):
    with pytest.raises(InputError, match=r"nothing\.onnx"):
        bench([tiny_onnx, Path("nothing.onnx")])


def test_a_damaged_file_is_named(tiny_onnx, tmp_path):
    path = tmp_path / "half.onnx"
    path.write_bytes(tiny_onnx.read_bytes()[:700])
    with pytest.raises(InputError, match=r"half\.onnx"):
        bench([tiny_onnx, path], blocks=3)


def _onnx(path, nodes, inputs, output):
    """A file of a few operators of opset 17."""
    import onnx

    graph = onnx.helper.make_graph(nodes, "graph", inputs, [output])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_a_file_whose_inputs_cannot_be_drawn_is_named_with_their_type(tmp_path):
    from onnx import TensorProto, helper

    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy"]
    _onnx(tmp_path / "texts.onnx", [helper.make_node("Identity", ["x"], ["y"])], texts[:1], texts[1])
    with pytest.raises(InputError, match=r"texts\.onnx takes inputs that cannot be drawn: .*string"):
        bench([tmp_path / "texts.onnx"], blocks=3)


def test_a_file_that_opens_and_does_not_run_is_named_with_the_vendors_reason(tmp_path):
    """Three numbers do not take the shape of seven, which shows when it runs."""
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    nodes = [
        helper.make_node("Constant", [], ["s"], value=helper.make_tensor("seven", TensorProto.INT64, [1], [7])),
        helper.make_node("Reshape", ["x", "s"], ["y"]),
    ]
    _onnx(tmp_path / "seven.onnx", nodes, [given], helper.make_tensor_value_info("y", TensorProto.FLOAT, [7]))
    with pytest.raises(InputError, match=r"seven\.onnx opens but does not run: .*Reshape") as refused:
        bench([tmp_path / "seven.onnx"], blocks=3)
    assert "Traceback" not in str(refused.value)


def _job(path):
    return Job(path, "onnxruntime", 1, conditions.list_allowed_cores()[:1], 0)


def test_a_worker_that_dies_is_named(tiny_onnx):
    with start_worker(_job(tiny_onnx)) as worker:
        worker.process.kill()
        with pytest.raises(Unavailable, match=rf"{tiny_onnx} died \(exit -9\)"):
            worker.block(5, timeout_s=30)


def test_the_last_words_of_a_dying_worker_are_shown(tiny_onnx):
    """Cores that do not exist: the worker's traceback is what the user needs to see."""
    job = Job(tiny_onnx, "onnxruntime", 1, (100_000,), 0)
    with pytest.raises(Unavailable, match=r"exit 1(.|\n)*Error"), start_worker(job):
        pass


@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_a_system_library_that_a_worker_misses_is_named(tiny_onnx, tmp_path, monkeypatch, kind):
    """A runtime stands in that needs one which is not there."""
    said = "libstdc++.so.6: cannot open shared object file: No such file or directory"
    (tmp_path / "onnxruntime.py").write_text(f"raise {kind}({said!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingLibrary, match=r"libstdc\+\+.so.6' is not installed"), start_worker(_job(tiny_onnx)):
        pass


def test_a_worker_that_hangs_is_given_up_and_ended(tiny_onnx):
    with start_worker(_job(tiny_onnx)) as worker, pytest.raises(Unavailable, match="did not answer within"):
        worker.block(100_000_000, timeout_s=0.2)
    assert worker.process.poll() is not None


def test_every_worker_is_ended_when_the_work_is_interrupted(tiny_onnx):
    with pytest.raises(KeyboardInterrupt), start_worker(_job(tiny_onnx)) as worker:
        raise KeyboardInterrupt
    assert worker.process.poll() is not None


def test_a_worker_ends_in_the_middle_of_a_block_when_we_are_gone(tiny_onnx):
    """Its stdin closes, as it would if this process were killed."""
    with start_worker(_job(tiny_onnx)) as worker:
        worker.talk.send({"inferences": 100_000_000, "path": str(tiny_onnx)})
        worker.process.stdin.close()
        assert worker.process.wait(timeout=30) == 0


def test_a_worker_that_is_waited_for_long_is_announced(tiny_onnx, caplog):
    answers = queue.Queue()
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        talk._await_line(tiny_onnx, answers, 0.02, quiet_s=0.01)
    assert "has not answered for 0 s; after 0 s it is given up" in caplog.text


def test_timing_needs_neither_torch_nor_numpy_in_this_process():
    vendors = {"torch", "numpy", "litert", "onnxruntime"}
    code = f"import sys, deploy_prune.timing.bench; assert not {vendors} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

"""The worker as one file, which files travel to: it needs nothing of ours, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deploy_prune import plugins
from deploy_prune.errors import InputError, StorageError, Unavailable
from deploy_prune.timing.client import ProcessWorker, list_options, start_worker
from deploy_prune.timing.devices import Job
from deploy_prune.timing.inbox import find_own_folder
from deploy_prune.timing.runner import build_runner
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.timing.talk import Launch, say_nothing_more
from deploy_prune.timing.wire import pack_array, pack_file, unpack_array, unpack_file


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """The runner in a folder where nothing else of ours is."""
    path = tmp_path / "elsewhere" / "runner.pyz"
    path.parent.mkdir()
    path.write_bytes(build_runner().content)
    return path


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that workers of this test keep files in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return find_own_folder()


@contextmanager
def started(runner: Path, path: Path, before: tuple[str, ...] = ()) -> Iterator[ProcessWorker]:
    """A worker that sees nothing of this checkout and is sent its files; `before`: a program that starts it."""
    job = Job(path, "onnxruntime", 1, tuple(sorted(os.sched_getaffinity(0)))[:1], seed=0)
    command = (*before, sys.executable, "-I", str(runner), "worker", *list_options(job, 0))
    with start_worker(job, Launch(command, None, attaches=True, explain=say_nothing_more)) as worker:
        yield worker


def test_the_same_sources_give_the_same_bytes() -> None:
    code = "from deploy_prune.timing.runner import build_runner; print(build_runner().sha256)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert done.stdout.strip() == build_runner().sha256
    assert len(build_runner().content) < 300_000


def test_it_runs_where_nothing_of_ours_is_installed(runner: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(runner)!r}]; import deploy_prune; print(deploy_prune.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=runner.parent, capture_output=True, text=True,
                          check=True, timeout=60)  # fmt: skip
    assert done.stdout.startswith(str(runner))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_a_file_of_any_size_arrives_as_it_was(size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    stream = io.BytesIO(b"".join(pack_file(io.BytesIO(content))) + b"next")
    assert b"".join(unpack_file(stream.read)) == content
    assert stream.read() == b"next"


def test_a_file_of_equal_weights_shrinks_to_little() -> None:
    assert len(b"".join(pack_file(io.BytesIO(b"\0\0\x80\x3f" * 1_000_000)))) < 40_000


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_an_array_arrives_as_it_was(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    there = unpack_array(pack_array(array))
    assert there.dtype == array.dtype and np.array_equal(there, array)


@pytest.mark.heavy
def test_files_travel_are_timed_and_nothing_of_them_stays(
    runner: Path, own_folder: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """A file that is opened again travels once; of several there are never more than two."""
    own_folder.mkdir(parents=True)
    (own_folder / "mine.onnx").write_text("somebody else's")
    others = [shutil.copy(tiny_onnx, tmp_path / f"{number}.onnx") for number in range(3)]
    for number, path in enumerate(others):
        path.write_bytes(path.read_bytes() + b"\x32\x01" + b"abc"[number : number + 1])  # another doc_string
    with started(runner, tiny_onnx) as worker:
        assert len(worker.block(3, timeout_s=60).samples) == 3
        kept = set(own_folder.glob("work-*/*"))
        worker.open(tiny_onnx)
        assert set(own_folder.glob("work-*/*")) == kept
        for path in others:
            assert len(worker.open(path).block(2, timeout_s=60).samples) == 2
            assert len(list(own_folder.glob("work-*/*"))) == 2
        worker.process.stdin.close()
        worker.process.wait(timeout=30)
    assert [path.name for path in own_folder.iterdir()] == ["mine.onnx"]


@pytest.mark.heavy
def test_given_inputs_give_what_the_runtime_gives_here(runner: Path, own_folder: Path, tiny_onnx: Path) -> None:
    session = plugins.build(RUNTIMES, "onnxruntime").open(tiny_onnx, threads=1)
    image = np.random.default_rng(0).standard_normal(session.inputs[0].shape).astype(np.float32)
    with started(runner, tiny_onnx) as worker:
        assert worker.inputs == session.inputs
        for there, here in zip(worker.run(image, timeout_s=60), session.run(image), strict=True):
            assert np.array_equal(there, here)
        layers, expected = worker.layers(image, timeout_s=60), session.layers(image)
        assert list(layers) == list(expected)
        assert all(np.array_equal(layers[name], expected[name]) for name in expected)
        assert len(worker.block(2, timeout_s=60).samples) == 2


def test_what_a_killed_worker_left_is_swept_by_the_next(runner: Path, own_folder: Path, tiny_onnx: Path) -> None:
    with started(runner, tiny_onnx) as worker:
        os.kill(worker.process.pid, signal.SIGKILL)
    assert len(list(own_folder.glob("work-*"))) == 1
    with started(runner, tiny_onnx):
        assert len(list(own_folder.glob("work-*"))) == 1


def test_two_workers_do_not_sweep_each_other(runner: Path, own_folder: Path, tiny_onnx: Path) -> None:
    with started(runner, tiny_onnx) as one, started(runner, tiny_onnx) as other:
        assert len(list(own_folder.glob("work-*/*"))) == 2
        assert one.open(tiny_onnx).block(1, timeout_s=60) and other.open(tiny_onnx).block(1, timeout_s=60)


@pytest.mark.parametrize("name", ["$(touch owned).onnx", "-rf.onnx", "a b'\"\n;.onnx", "name\x1b[2J.onnx"])
def test_a_name_says_nothing_to_the_host_and_is_what_errors_call_the_file(
    runner: Path, own_folder: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError) as refused, started(runner, path):
        pass
    assert str(path) in refused.value.message and "work-" not in refused.value.message


def test_a_host_whose_disk_is_full_says_so_and_goes_on(
    runner: Path, own_folder: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """No process may write a file of more than so many blocks of 512 bytes, which ends as a full disk does."""
    large = tmp_path / "large.onnx"
    large.write_bytes(np.random.default_rng(0).bytes(5_000_000))
    limited = ("sh", "-c", 'trap "" XFSZ; ulimit -f 4000; exec "$0" "$@"')
    with started(runner, tiny_onnx, limited) as worker:
        with pytest.raises(StorageError, match=r"large\.onnx could not be kept there: File too large"):
            worker.open(large)
        with pytest.raises(InputError, match="no longer open"):
            worker.block(1, timeout_s=60)
        assert len(worker.open(tiny_onnx).block(1, timeout_s=60).samples) == 1


def test_a_file_that_is_not_there_is_not_sent(runner: Path, own_folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    with started(runner, tiny_onnx) as worker, pytest.raises(InputError, match="is not a file"):
        worker.open(tmp_path / "gone.onnx")


def chatty(lines: int) -> tuple[str, ...]:
    """A shell whose start-up files print so many lines before they do what they are asked for."""
    return ("sh", "-c", f'i=0; while [ $i -lt {lines} ]; do echo "Welcome, it is $i"; i=$((i+1)); done; exec "$0" "$@"')


def test_what_a_shell_prints_before_is_not_taken_for_an_answer(runner: Path, own_folder: Path, tiny_onnx: Path) -> None:
    with started(runner, tiny_onnx, chatty(3)) as worker:
        assert len(worker.block(1, timeout_s=60).samples) == 1


def test_a_shell_that_prints_without_end_is_given_up(runner: Path, own_folder: Path, tiny_onnx: Path) -> None:
    with (
        pytest.raises(Unavailable, match="words that are not its own: 'Welcome"),
        started(runner, tiny_onnx, chatty(1500)),
    ):
        pass


def test_cores_that_the_system_keeps_from_a_worker_are_named(runner: Path, tiny_onnx: Path) -> None:
    """A set of cores that is only partly there is cut down by the kernel without an error."""
    cores = (*sorted(os.sched_getaffinity(0))[:1], 900)
    job = Job(tiny_onnx, "onnxruntime", 1, cores, seed=0)
    command = (sys.executable, "-I", str(runner), "worker", *list_options(job, 0))
    launch = Launch(command, None, attaches=True, explain=say_nothing_more)
    with pytest.raises(Unavailable, match=r"asked to run on the cores \[\d+, 900\]"), start_worker(job, launch):
        pass

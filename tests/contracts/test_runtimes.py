"""What every runtime promises, run over every plugin that is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from absent import require
from tinyconv import two_outputs

from deploy_prune import plugins
from deploy_prune.errors import InputError
from deploy_prune.timing.devices import THIS_MACHINE, Job, device_at

RUNTIMES = plugins.list_names("runtimes")
BUILT_ON_TORCH = {"executorch"}
"""Their vendor's package takes torch's tensors; importing the plugin still imports no torch."""
SHOWS_NO_LAYERS = {"coreai", "executorch"}
"""All that XNNPACK took is one operator to ExecuTorch; Core AI's files do not hold what would lead to its layers."""
HAS_A_PROFILER = {"onnxruntime"}
pytestmark = pytest.mark.parametrize("name", RUNTIMES)


@pytest.fixture
def file(name, request):
    """A real file of the runtime's format."""
    suffix = plugins.load("runtimes", name).suffixes[0]
    return request.getfixturevalue(f"tiny_{suffix[1:]}")


@pytest.fixture
def runtime(name):
    require(name)
    return plugins.build("runtimes", name)


@pytest.mark.heavy
def test_a_file_of_two_outputs_gives_both_and_is_timed_as_any_other(name, runtime, tmp_path):
    """The scores of five classes, and a map of 16 x 24; where layers are shown, both are among them."""
    (exporter,) = (each for each in plugins.list_names("exporters") if plugins.load("exporters", each).runtime == name)
    path = tmp_path / f"two{plugins.load('exporters', exporter).suffix}"
    plugins.build("exporters", exporter).write(two_outputs(12), path)
    session = runtime.open(path, threads=1)
    image = _image(session)
    outputs, layers = session.run(image), session.layers(image)
    assert [output.size for output in outputs] == [5, 16 * 24]
    for output in outputs if layers else ():
        assert any(
            np.allclose(output.ravel(), layer.ravel(), rtol=1e-4, atol=1e-5)
            for layer in layers.values()
            if layer.size == output.size
        )
    if runtime.untimed:
        return
    device = device_at(THIS_MACHINE)
    with device.start(Job(path, name, 1, device.cores(1), seed=0)) as worker:
        assert len(worker.block(3, timeout_s=60).samples) == 3


@pytest.mark.heavy
def test_one_thread_and_two_compute_the_same(runtime, file):
    one, two = (runtime.open(file, threads=threads) for threads in (1, 2))
    array = np.random.default_rng(0).standard_normal(one.inputs[0].shape).astype(np.float32)
    np.testing.assert_allclose(one.run(array)[0], two.run(array)[0], rtol=1e-5)


def test_a_later_run_does_not_change_earlier_results(runtime, file):
    session = runtime.open(file, threads=1)
    zeros = np.zeros(session.inputs[0].shape, np.float32)
    (first,) = session.run(zeros)
    kept = first.copy()
    session.run(zeros + 1)
    assert np.array_equal(first, kept)


def _image(session):
    return np.random.default_rng(0).standard_normal(session.inputs[0].shape).astype(np.float32)


def test_the_layers_end_with_what_a_run_gives(name, runtime, file):
    session = runtime.open(file, threads=1)
    layers = session.layers(_image(session))
    assert bool(layers) == (name not in SHOWS_NO_LAYERS)
    for array in list(layers.values())[-1:]:
        np.testing.assert_allclose(array, session.run(_image(session))[0], rtol=1e-4, atol=1e-5)


def test_the_layers_follow_the_input_and_hold_no_constants(runtime, file):
    """All of them differ between two inputs, and looking at them leaves the session as it was."""
    session = runtime.open(file, threads=1)
    (before,) = session.run(_image(session))
    one, two = session.layers(_image(session)), session.layers(_image(session) * 2)
    assert list(one) == list(two)
    assert all(one[name].shape == two[name].shape and not np.array_equal(one[name], two[name]) for name in one)
    assert np.array_equal(session.run(_image(session))[0], before)


def test_the_profile_names_what_runs(name, runtime, file):
    session = runtime.open(file, threads=1)
    nodes = session.profile(_image(session), runs=20)
    assert bool(nodes) == (name in HAS_A_PROFILER)
    if nodes:
        places = [node.place for node in nodes if node.place is not None]
        assert places and len(places) == len(set(places)) and len({node.name for node in nodes}) == len(nodes)


@pytest.mark.slow
@pytest.mark.ci
def test_the_times_of_a_profile_add_up_to_a_run(name, runtime, file):
    if name not in HAS_A_PROFILER:
        pytest.skip("this runtime has no profiler")
    session = runtime.open(file, threads=1)
    started = time.perf_counter()
    for _ in range(20):
        session.run(_image(session))
    run_ms = (time.perf_counter() - started) / 20 * 1e3
    assert 0 < sum(node.ms for node in session.profile(_image(session), runs=20)) < 5 * run_ms


def test_the_input_is_described(runtime, file):
    (spec,) = runtime.open(file, threads=1).inputs
    assert sorted(spec.shape) == [1, 3, 16, 24] and spec.dtype == "float32"


def test_a_file_for_one_batch_size_refuses_another(runtime, file):
    session = runtime.open(file, threads=1)
    session.resize(1)
    with pytest.raises(InputError, match="batches of 1 alone, not 4"):
        session.resize(4)


def _damaged(file, folder, change):
    """Copies of a file, or of a folder, in each of which one file's content has been changed."""
    parts = [part for part in file.rglob("*") if part.is_file()] or [file]
    for number, part in enumerate(parts):
        path = folder / str(number) / file.name
        copy = shutil.copytree if file.is_dir() else shutil.copy
        path.parent.mkdir()
        copy(file, path)
        (path / part.relative_to(file)).write_bytes(change(part.read_bytes()))
        yield path


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused_and_named(runtime, file, tmp_path, share):
    for path in _damaged(file, tmp_path, lambda content: content[: int(len(content) * share)]):
        with pytest.raises(InputError, match=str(path)):
            runtime.open(path, threads=1)


@pytest.mark.parametrize(
    "content", [b"PNG not a network at all" * 40, bytes(4096), b"\x00\x00\x00\x00TFL3" + bytes(500)]
)
def test_a_foreign_file_is_refused(runtime, file, tmp_path, content):
    (tmp_path / file.name).write_bytes(content)
    for path in [tmp_path / file.name, *_damaged(file, tmp_path, lambda _: content)]:
        with pytest.raises(InputError, match=str(path)):
            runtime.open(path, threads=1)


def test_a_missing_file_is_refused(runtime, file, tmp_path):
    with pytest.raises(InputError, match=r"nothing"):
        runtime.open(tmp_path / f"nothing{file.suffix}", threads=1)


def test_it_says_its_version(runtime):
    assert runtime.version()[0].isdigit()


@pytest.mark.heavy
def test_it_runs_without_torch_and_prints_nothing(name, file):
    """In a process of its own: a phone's or board's CI box need not have torch."""
    code = (
        "import sys; from pathlib import Path; from deploy_prune import plugins;"
        "runtime = plugins.build('runtimes', sys.argv[1]); assert 'torch' not in sys.modules;"
        "assert runtime.open(Path(sys.argv[2]), threads=1).inputs;"
        f"assert ('torch' in sys.modules) == {name in BUILT_ON_TORCH}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

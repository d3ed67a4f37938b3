"""What every reader promises, run over every plugin that is found."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys

import pytest

from deploy_prune import plugins
from deploy_prune.analysis import xnnpack_delegation
from deploy_prune.analysis.describe import describe, read_report
from deploy_prune.errors import InputError

READERS = plugins.list_names("readers")
pytestmark = pytest.mark.parametrize("name", READERS)

CHANGES = 60
PARAMETERS = 13 * 3 * 9 + 13 + 13 * 9 + 13 + 13 * 5 + 5
"""The parameters of the tiny network, its batch norm folded into the convolution before."""


@pytest.fixture
def file(name, request):
    """A real file of the reader's format."""
    return request.getfixturevalue(f"tiny_{plugins.load('readers', name).suffix[1:]}")


@pytest.fixture
def unasked(monkeypatch):
    """Reading asks no runtime in a process of its own, which would take most of the time."""
    monkeypatch.setattr(xnnpack_delegation, "ask_delegated", lambda path, operators: frozenset(range(operators)))


def parts(file):
    """The file, or the files in the folder that it is."""
    return [part for part in sorted(file.rglob("*")) if part.is_file()] or [file]


def changed(file, folder, part, content):
    """A copy in which one part has other content."""
    path = folder / file.name
    if file.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(file, path)
    (path / part.relative_to(file)).write_bytes(content)
    return path


def test_it_reads_the_suffix_of_an_exporter_and_names_a_runtime_for_it(name):
    reader = plugins.load("readers", name)
    suffixes = {plugins.load("exporters", each).suffix for each in plugins.list_names("exporters")}
    assert reader.suffix in suffixes
    assert reader.suffix in plugins.load("runtimes", reader.runtime).suffixes


@pytest.mark.heavy
def test_the_tiny_network_is_told_as_it_is(name, file):
    report = describe(file).report
    (image,), (logits,) = report.inputs, report.outputs
    assert (sorted(image.shape), image.dtype) == ([1, 3, 16, 24], "float32")
    assert (logits.shape, logits.dtype) == ((1, 5), "float32")
    convolutions = [row for row in report.operators if "conv" in row.name.lower()]
    assert sum(row.count for row in convolutions) == 2
    assert all(row.kernels for row in report.operators)
    assert all(report.needs.values()) and report.version


@pytest.mark.heavy
def test_the_weights_are_counted_in_bytes_of_their_type(name, file):
    """Little is added by what a format keeps beside the parameters: bounds of a clip, sizes of a reshape."""
    weights_bytes = dict(describe(file).report.weights_bytes)
    floats = weights_bytes.pop("float32")
    assert 4 * PARAMETERS <= floats <= 4 * PARAMETERS + 16
    assert sum(weights_bytes.values()) < 200


def test_a_missing_file_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.\w+ does not exist"):
        describe(tmp_path / f"nothing{plugins.load('readers', name).suffix}")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_refused_and_named(name, file, tmp_path, share, unasked):
    for part in parts(file):
        content = part.read_bytes()
        path = changed(file, tmp_path, part, content[: int(len(content) * share)])
        with pytest.raises(InputError, match=str(path)):
            read_report(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, b'{"a": [1, 2]}', bytes(4096)])
def test_a_foreign_file_is_refused_and_named(name, file, tmp_path, content, unasked):
    for part in parts(file):
        path = changed(file, tmp_path, part, content)
        with pytest.raises(InputError, match=str(path)):
            read_report(path)


def test_a_file_where_a_folder_belongs_and_the_other_way_around_is_refused(name, file, tmp_path, unasked):
    path = tmp_path / file.name
    if file.is_dir():
        path.write_bytes(b"a file")
    else:
        path.mkdir()
    with pytest.raises(InputError, match=str(path)):
        read_report(path)


def test_bytes_changed_at_random_give_a_report_or_a_refusal_that_names_the_file(name, file, tmp_path, unasked):
    """A changed weight cannot be seen; a changed offset must not end in anything but InputError."""
    draw, refused = random.Random(0), []
    for index in range(CHANGES):
        part = draw.choice(parts(file))
        content = bytearray(part.read_bytes())
        for _ in range((1, 8, 64)[index % 3]):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path = changed(file, tmp_path, part, bytes(content))
        try:
            read_report(path)
        except InputError as error:
            refused.append(error.message)
    assert refused, "no change was noticed"
    assert all(str(tmp_path / file.name) in message for message in refused)


def test_it_reads_without_torch_and_prints_nothing(name, file):
    code = (
        "import sys; from pathlib import Path; from deploy_prune import plugins; sys.modules['torch'] = None;"
        "report = plugins.build('readers', sys.argv[1]).read(Path(sys.argv[2])); assert report.operators;"
        "assert not {'executorch', 'onnx', 'onnxruntime', 'coremltools', 'coreai'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

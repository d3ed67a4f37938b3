from __future__ import annotations

import importlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from deploy_prune.analysis.bench import bench
from deploy_prune.errors import InputError, MissingDependency, Unavailable
from deploy_prune.timing.runtimes.executorch import ExecuTorch

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 16, 24)).astype(np.float32)


def _copy(content, path, at, replacement):
    path.write_bytes(content[:at] + replacement + content[at + len(replacement) :])
    return path


def test_sessions_of_different_thread_counts_take_turns(tiny_pte):
    """The process has one pool: each session finds its own count in it again, and computes the same."""
    bindings = importlib.import_module("executorch.extension.pybindings._C")
    sessions = {threads: ExecuTorch().open(tiny_pte, threads=threads) for threads in (1, 2)}
    (expected,) = sessions[1].run(IMAGE)
    for threads in (1, 2, 2, 1, 2):
        (found,) = sessions[threads].run(IMAGE)
        assert bindings._threadpool_get_thread_count() == threads
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_file_that_lost_its_last_byte_says_how_much_is_missing(tiny_pte, tmp_path):
    content = tiny_pte.read_bytes()
    path = tmp_path / "short.pte"
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"truncated: {len(content) - 1} of {len(content)} bytes"):
        ExecuTorch().open(path, threads=1)


def test_a_head_without_the_size_of_the_segments_is_read(tiny_pte, tmp_path):
    """Older exporters wrote it so: 24 bytes long."""
    path = _copy(tiny_pte.read_bytes(), tmp_path / "old.pte", 12, struct.pack("<I", 24))
    (found,) = ExecuTorch().open(path, threads=1).run(IMAGE)
    assert np.array_equal(found, ExecuTorch().open(tiny_pte, threads=1).run(IMAGE)[0])


def test_a_file_damaged_inside_gives_the_vendors_reason(tiny_pte, tmp_path, capfd):
    path = _copy(tiny_pte.read_bytes(), tmp_path / "damaged.pte", 64, bytes(range(200)))
    with pytest.raises(InputError, match=r"damaged\.pte is damaged .*Verification failed"):
        ExecuTorch().open(path, threads=1)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_asks_for_more_memory_than_there_is_is_damaged(tiny_pte, monkeypatch):
    """A file with changed sizes may do so."""
    bindings = importlib.import_module("executorch.extension.pybindings._C")

    def refuse(path, **options):
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(bindings, "_load_program", refuse)
    with pytest.raises(InputError, match=r"tiny\.pte is damaged .*std::bad_alloc"):
        ExecuTorch().open(tiny_pte, threads=1)


def test_a_program_without_segments_has_no_header_and_is_run(tmp_path):
    import torch
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 3),))
    content = to_edge_transform_and_lower(exported).to_executorch().buffer
    assert content[8:12] != b"eh00"
    (tmp_path / "relu.pte").write_bytes(content)
    (found,) = ExecuTorch().open(tmp_path / "relu.pte", threads=1).run(np.array([[-1, 0, 2]], np.float32))
    assert found.tolist() == [[0, 0, 2]]


def test_an_array_of_another_shape_is_refused_with_the_one_that_fits(tiny_pte):
    session = ExecuTorch().open(tiny_pte, threads=1)
    with pytest.raises(InputError, match=r"takes float32\[1, 3, 16, 24\] and was given float32\[1, 3, 16, 16\]"):
        session.run(np.zeros((1, 3, 16, 16), np.float32))


@pytest.mark.heavy
def test_it_is_timed_in_a_process_of_its_own(tiny_pte):
    (one,) = bench([tiny_pte], threads=(1,), blocks=3)
    assert (one.target.runtime, one.target.threads) == ("executorch", 1)
    assert one.target.runtime_version[0].isdigit() and 0 < one.median < 1000


def test_a_missing_torch_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"'torch'(.|\n)*deploy-prune\[executorch\]"):
        ExecuTorch().prepare(Path("any.pte"))


def test_bindings_built_against_another_torch_are_said_to_be_so(monkeypatch):
    def undefined(name):
        raise ImportError("undefined symbol: _ZN3c1")

    monkeypatch.setattr(importlib, "import_module", undefined)
    with pytest.raises(Unavailable, match="does not fit the torch that is installed: undefined symbol"):
        ExecuTorch().prepare(Path("any.pte"))

"""What LiteRT hands to XNNPACK is asked of it; what becomes of files that it refuses or dies on is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy_prune.analysis import xnnpack_delegation
from deploy_prune.errors import Unavailable


def test_where_nothing_is_left_everything_is_taken(tiny_tflite: Path) -> None:
    assert xnnpack_delegation.ask_delegated(tiny_tflite, 4) == {0, 1, 2, 3}


def test_a_refusal_is_told_in_litert_s_words(tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(100))
    with pytest.raises(Unavailable, match="LiteRT refuses it: "):
        xnnpack_delegation.ask_delegated(path, 1)


def test_a_process_that_dies_is_told_and_ours_lives_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that aborts stands for LiteRT on a file that it trusts too much."""
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.stderr.write('trusted it')\nsys.stderr.flush()\nos.abort()\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(Unavailable, match=r"LiteRT died when it opened .*net.tflite \(exit -6\): trusted it"):
        xnnpack_delegation.ask_delegated(tmp_path / "net.tflite", 1)

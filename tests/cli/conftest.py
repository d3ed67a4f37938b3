"""A tiny run, and a way to have the command line refuse it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tinyrun import toml, written

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources of a run, and its configuration: neither trained before nor after."""
    written(tmp_path)
    toml(tmp_path)
    return tmp_path


@pytest.fixture
def refused(folder: Path, capsys: Captured) -> Refused:
    """Runs `prune` with more flags, expects an exit code, and gives what was said."""

    def run(*flags: str | Path, code: int, out: str | Path = folder / "run") -> str:
        line = ["prune", "--config", f"{folder}/run.toml", "--no-finetune", "--out", str(out), *map(str, flags)]
        assert __main__.run(line) == code
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        return errors

    return run

"""Opening a run executes no Python file that only its records name: not by any verb, and not in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import tinyrun

import deploy_prune
from deploy_prune import __main__, plugins
from deploy_prune.errors import UntrustedCode
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.records import write_record
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.trust import refuse_untrusted, trust_code, trust_named, trust_only

Captured = pytest.CaptureFixture[str]
LOUD = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
"""What a file begins with that leaves a trace when it is executed."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose records name `net.py`, `data.py` and `hooks.py`, which lie beside it."""
    folder = tinyrun.written(tmp_path_factory.mktemp("hostile"))
    checkpoint.save(build_network(f"{folder}/net.py:build", classes=4, input_shape=(3, 8, 8)), folder / "run")
    (folder / "hooks.py").write_text("def loss(outputs, labels):\n    return outputs.sum()\n")
    for name in ("net", "data", "hooks"):
        (folder / f"{name}.py").write_text(LOUD + (folder / f"{name}.py").read_text())
    asked = {"model": "digits", "data": f"{folder}/data.py:read", "data_options": {}, "task": "auto", "method": "x"}
    write_record(folder / "run" / "run.json", asked, dict)
    return folder


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("inspect RUN", "net"),
        ("profile RUN", "net"),
        ("plan RUN", "net"),
        pytest.param("sensitivity RUN --input-shape 3,8,8", "net", marks=pytest.mark.heavy),
        ("export RUN --target onnx", "net"),
        ("latency show RUN", "net"),
        ("latency export RUN table.json", "net"),
        ("prune RUN", "data"),
        ("prune RUN --budget 0.7x,0.5x", "data"),
        ("prune RUN --max-drop 1", "data"),
        ("prune RUN --data digits --no-finetune", "net"),
        ("finetune RUN", "data"),
        ("bench RUN", ""),
        ("explain RUN", ""),
        ("report RUN", ""),
    ],
)
def test_no_verb_executes_what_a_record_names(
    line: str, name: str, hostile: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with trust_only(()):
        assert __main__.run([part.replace("RUN", str(hostile / "run")) for part in line.split()]) == 2
    errors = capsys.readouterr().err
    assert not list(hostile.glob("*.ran"))
    if name:
        assert f"a record names the Python file {hostile}/{name}.py" in errors
        assert "--trust-code" in errors


def test_hooks_that_a_run_names_are_not_executed_by_training_it_further(hostile: Path, tmp_path: Path) -> None:
    asked = {"model": "resnet20", "data": "digits", "hooks": {"loss": f"{hostile}/hooks.py:loss"}}
    write_record(tmp_path / "run" / "run.json", asked, dict)
    with trust_only(()), pytest.raises(UntrustedCode, match=r"hooks\.py"):
        deploy_prune.finetune(tmp_path / "run")
    assert not (hostile / "hooks.ran").exists()
    assert not (tmp_path / "run" / "rounds.json").exists()


def test_a_file_named_like_one_of_a_record_is_not_executed_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record's path is relative: what it leads to is whatever lies in the reader's own folder."""
    monkeypatch.chdir(tinyrun.written(tmp_path))
    checkpoint.save(build_network("net.py:build", classes=4, input_shape=(3, 8, 8)), tmp_path / "run")
    (tmp_path / "net.py").write_text(LOUD)
    with trust_only(()), pytest.raises(UntrustedCode, match=r"net\.py"):
        deploy_prune.load("run")
    assert not (tmp_path / "net.ran").exists()


@pytest.mark.heavy
def test_whoever_trusts_a_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(tinyrun.written(tmp_path))
    checkpoint.save(build_network("net.py:build", classes=4, input_shape=(3, 8, 8)), tmp_path / "run")
    assert __main__.run(["inspect", "run"]) == 2
    assert __main__.run(["inspect", "run", "--trust-code"]) == 0
    assert __main__.run(["inspect", "run"]) == 2
    assert "net.py:build" in capsys.readouterr().out
    with trust_only(()), trust_code():
        assert deploy_prune.load("run").address == "net.py:build"


def test_a_command_line_that_names_the_file_needs_no_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Also to go on with its own run, whose records name the file, too."""
    monkeypatch.chdir(tinyrun.written(tmp_path))
    (tmp_path / "run.toml").write_text("targets = []\nthreads = []\nrecalibrate_images = 0\n")
    flags = "--no-finetune --out run --budget 0.7x --config run.toml"
    line = ["prune", "net.py:build", "--data", "data.py:read", *flags.split()]
    with trust_only(()):
        assert __main__.run(line) == 0
        (tmp_path / "run" / "test-1.json").unlink()
        assert __main__.run(line) == 0
        assert __main__.run(["finetune", "run"]) == 2
    assert "net.py, which is not executed" in capsys.readouterr().err


def test_a_configuration_names_its_files(hostile: Path) -> None:
    config = RunConfig(model="net.py:build", data=f"{hostile}/data.py:read", hooks={"loss": "hooks.py:loss"})  # type: ignore[arg-type]
    assert config.code == ("net.py:build", f"{hostile}/data.py:read", "hooks.py:loss")


def test_what_a_block_trusts_ends_with_it(hostile: Path) -> None:
    address = f"{hostile}/hooks.py:loss"
    with trust_only(()):
        with trust_only((address, "torchvision:resnet18")):
            assert callable(plugins.fetch_user_object(address))
            with pytest.raises(UntrustedCode):
                refuse_untrusted((f"file:{hostile}/net.py:build",))
        with pytest.raises(UntrustedCode, match=r"hooks\.py"):
            plugins.fetch_user_object(address)
        refuse_untrusted(("digits", "torchvision:resnet18", "", "a\0.py:b"))


def test_a_file_that_was_named_in_a_process_is_trusted_there_later(hostile: Path) -> None:
    """`load` of what `prune` made a line above."""
    address = f"{hostile}/hooks.py:loss"
    with trust_only(()):
        trust_named((address,))
        with trust_only(()), pytest.raises(UntrustedCode):
            plugins.fetch_user_object(address)
        assert callable(plugins.fetch_user_object(address))

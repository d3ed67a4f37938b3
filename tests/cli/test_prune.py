"""Flags override the file, each under the key of the configuration that it stands for."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy_prune import __main__
from deploy_prune.analysis import report
from deploy_prune.cli import prune
from deploy_prune.errors import NoSpeedUp
from deploy_prune.pipeline import run as pipeline
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.results import DenseResult
from deploy_prune.values import Count, Quality

GIVEN = DenseResult(Count(9, 9, 9, ()), Quality("top-1", 0.9, (0.8, 1.0), 50, 0.3), "w.pth", 1.0)
"""A dense network whose weights were given."""


@dataclass(frozen=True)
class Summary:
    """As much of a run's summary as is shown."""

    outcome: str
    dense: DenseResult = GIVEN


@pytest.fixture
def judged_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run whose network is not faster."""

    def judge(summary: Summary) -> None:
        raise NoSpeedUp("pruned, but not faster", hint="try --multiple 16")

    monkeypatch.setattr(pipeline, "judge", judge)
    monkeypatch.setattr(report, "report", lambda run: f"# report of {run}")


def test_a_bad_verdict_comes_after_the_report(judged_slow: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSpeedUp):
        prune.show_run(Path("run"), Summary("no speed-up"), as_json=False)
    assert capsys.readouterr().out == "# report of run\n"


def test_with_json_a_bad_verdict_is_in_the_same_object(judged_slow: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune.show_run(Path("run"), Summary("no speed-up"), as_json=True) == 6
    printed = json.loads(capsys.readouterr().out)
    assert printed["summary"]["outcome"] == "no speed-up"
    assert (printed["error"]["kind"], printed["error"]["exit_code"]) == ("NoSpeedUp", 6)


def test_weights_that_nobody_trained_are_the_last_thing_said(
    judged_slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the report, in which the sentence stands as well, and before the verdict."""
    as_built = dataclasses.replace(GIVEN, weights_as_built=True)
    with pytest.raises(NoSpeedUp):
        prune.show_run(Path("run"), Summary("no speed-up", as_built), as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("Neither weights nor [pretrain] were given")


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that command lines led to, instead of runs."""
    seen: list[RunConfig] = []

    def keep(config: Path | None, overrides: dict[str, Any], out: Path, **_: object) -> None:
        seen.append(load_config(config, overrides))

    monkeypatch.setattr(prune, "run", keep)
    return seen


def test_every_flag_sets_its_key(configured: list[RunConfig]) -> None:
    line = (
        "prune resnet20 --data cifar10:d --weights w.safetensors --classes 7 --input-shape 3,96,160 --option depth=20 "
        "--budget size=4MB --method random --multiple 16 --scope inner --epochs 3 --target onnx --threads 1,4 --seed 5"
    )
    assert __main__.run(line.split()) == 0
    (config,) = configured
    assert config.finetune is not None
    assert config.finetune.epochs == 3
    assert config.model_copy(update={"finetune": None}) == RunConfig(
        model="resnet20",
        data="cifar10:d",
        weights=Path("w.safetensors"),
        classes=7,
        input_shape=(3, 96, 160),
        model_options={"depth": 20},
        budget="size=4MB",
        method="random",
        multiple=16,
        scope="inner",
        finetune=None,
        targets=("onnx",),
        threads=(1, 4),
        seed=5,
    )


def test_flags_that_are_not_given_leave_the_file_as_it_is(configured: list[RunConfig], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'model = "resnet20"\nbudget = "0.4x"\nseed = 3\n[finetune]\nepochs = 2\nlr = 0.5\n'
    )
    assert __main__.run(["prune", "--config", str(tmp_path / "run.toml"), "--epochs", "9", "--seed", "4"]) == 0
    (config,) = configured
    assert (config.model, config.budget, config.seed) == ("resnet20", "0.4x", 4)
    assert config.finetune is not None
    assert (config.finetune.epochs, config.finetune.lr) == (9, 0.5)


def test_no_finetune_is_no_recipe(configured: list[RunConfig]) -> None:
    assert __main__.run(["prune", "resnet20", "--no-finetune"]) == 0
    assert configured[0].finetune is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no-finetune", "--epochs", "2"], "contradict each other"),
        (["--epochs", "0"], "--epochs"),
        (["--multiple", "0"], "--multiple"),
        (["--scope", "outer"], "scope"),
        (["--target", "onnx,"], "empty name"),
        (["--threads", "many"], "--threads"),
        (["--input-shape", "3"], "--input"),
    ],
)
def test_a_flag_that_does_not_fit_is_exit_code_2_and_named(
    configured: list[RunConfig], capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert __main__.run(["prune", "resnet20", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not configured

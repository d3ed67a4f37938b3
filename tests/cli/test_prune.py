"""Flags override the file, each under the key of the configuration that it stands for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from finished import page, slower

from deploy_prune import __main__
from deploy_prune.cli import prune
from deploy_prune.cli.flags import Flag
from deploy_prune.errors import NoSpeedUp
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.train.recipe import Recipe


def test_a_bad_verdict_comes_after_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = page(slower(), tmp_path)
    with pytest.raises(NoSpeedUp):
        prune.show_run(tmp_path, slower(), as_json=False)
    assert capsys.readouterr().out == f"{report}\n"


def test_with_json_a_bad_verdict_is_in_the_same_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune.show_run(tmp_path, slower(), as_json=True) == 6
    printed = json.loads(capsys.readouterr().out)
    assert printed["outcome"] == "no speed-up"
    assert printed["summary"]["bench"]["measurements"][0]["ratio"] == 1.1
    assert (printed["error"]["kind"], printed["error"]["exit_code"]) == ("NoSpeedUp", 6)


def test_weights_that_nobody_trained_are_the_last_thing_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the report, in which the sentence stands as well, and before the verdict."""
    summary = slower()
    summary = dataclasses.replace(summary, dense=dataclasses.replace(summary.dense, weights_as_built=True))
    page(summary, tmp_path)
    with pytest.raises(NoSpeedUp):
        prune.show_run(tmp_path, summary, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("Neither weights nor [pretrain] were given")


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that command lines led to, instead of runs."""
    seen: list[RunConfig] = []

    def keep(config: Path | None, overrides: dict[str, Any], out: Path, **_: object) -> None:
        seen.append(load_config(config, overrides))

    monkeypatch.setattr(prune, "run", keep)
    return seen


FIELDS: dict[str, tuple[str, object]] = {
    "data": ("cifar10:d", "cifar10:d"),
    "weights": ("w.safetensors", Path("w.safetensors")),
    "classes": ("7", 7),
    "input_shape": ("3,96,160", (3, 96, 160)),
    "model_options": ("depth=20", {"depth": 20}),
    "budget": ("size=4MB", "size=4MB"),
    "method": ("random", "random"),
    "method_options": ("candidates=300", {"candidates": 300}),
    "scores": ("other", Path("other")),
    "widths": ("legr:other", "legr:other"),
    "widths_options": ("norm=l1", {"norm": "l1"}),
    "select": ("obs", "obs"),
    "select_options": ("images=64", {"images": 64}),
    "refit": ("", True),
    "refit_images": ("1024", 1024),
    "multiple": ("16", 16),
    "task": ("none", "none"),
    "scope": ("inner", "inner"),
    "workers": ("ray:4", "ray:4"),
    "accelerator": ("cpu", "cpu"),
    "targets": ("onnx,coreml", ("onnx", "coreml")),
    "threads": ("1,4", (1, 4)),
    "runtime": ("onnxruntime", "onnxruntime"),
    "device": ("phone", "phone"),
    "store": ("tables.sqlite", Path("tables.sqlite")),
    "seed": ("5", 5),
}
"""Field -> what is written behind its flag, and what the field is then."""


@pytest.mark.parametrize("flag", prune.FLAGS, ids=lambda flag: flag.name)
def test_every_flag_of_a_field_sets_it_and_nothing_else(configured: list[RunConfig], flag: Flag) -> None:
    text, value = FIELDS[flag.field]
    assert __main__.run(["prune", "net", flag.name, *([text] if text else [])]) == 0
    (config,) = configured
    assert config.model_dump() == RunConfig.model_validate({"model": "net", flag.field: value}).model_dump()


@pytest.mark.parametrize(("flags", "field", "value"), [
    (["--heads", "0"], "method_options", {"heads": 0}),
    (["--epsilon", "0.5"], "method_options", {"epsilon": 0.5}),
    (["--epsilon", "0.5", "--method-option", "rate=2"], "method_options", {"rate": 2, "epsilon": 0.5}),
    (["--epochs", "3"], "finetune", Recipe(epochs=3, lr=0.01)),
    (["--no-finetune"], "finetune", None),
    (["--no-refit"], "refit", False),
])  # fmt: skip
def test_every_flag_of_its_own_sets_its_part_of_a_field(
    configured: list[RunConfig], flags: list[str], field: str, value: object
) -> None:
    assert __main__.run(["prune", "net", *flags]) == 0
    (config,) = configured
    assert config.model_dump() == RunConfig.model_validate({"model": "net", field: value}).model_dump()


def test_no_flag_is_left_out_above() -> None:
    """The others are no part of a configuration, and have tests of their own."""
    frozen = json.loads((Path(__file__).parent / "options.json").read_text())["prune"]
    own = {"--heads", "--epsilon", "--epochs", "--no-finetune"}
    others = {"model", "--config", "--max-drop", "--no-controls", "--plan", "--out", "--json", "--trust-code"}
    assert {flag.name for flag in prune.FLAGS} | own | others == {each.split()[0] for each in frozen}
    assert set(FIELDS) == {flag.field for flag in prune.FLAGS}


def test_what_a_flag_is_for_is_the_note_of_its_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.run(["prune", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for flag in prune.FLAGS:
        assert " ".join((RunConfig.model_fields[flag.field].description or "-").split()) in said


def test_flags_that_are_not_given_leave_the_file_as_it_is(configured: list[RunConfig], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'model = "resnet20"\nbudget = "0.4x"\nseed = 3\n[finetune]\nepochs = 2\nlr = 0.5\n'
    )
    assert __main__.run(["prune", "--config", str(tmp_path / "run.toml"), "--epochs", "9", "--seed", "4"]) == 0
    (config,) = configured
    assert (config.model, config.budget, config.seed) == ("resnet20", "0.4x", 4)
    assert config.finetune is not None
    assert (config.finetune.epochs, config.finetune.lr) == (9, 0.5)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no-finetune", "--epochs", "2"], "contradict each other"),
        (["--epochs", "0"], "--epochs"),
        (["--multiple", "0"], "--multiple"),
        (["--seed", "-1"], "--seed"),
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

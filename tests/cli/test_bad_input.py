"""Names, flags, configurations and hooks that are wrong: each has its own message and the exit code of its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]
Refused = Callable[..., str]


def configured(folder: Path, line: str) -> None:
    """The configuration with one more line before its tables."""
    path = folder / "run.toml"
    path.write_text(f"{line}\n{path.read_text()}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["mobilenet_v3"], "unknown model 'mobilenet_v3'\nhint: did you mean 'mobilenet_v"),
        (["torchvision:mobilenet_v22"], "did you mean 'mobilenet_v2'?"),
        (["--data", "digit"], "unknown dataset 'digit'\nhint: did you mean 'digits'?"),
        (["--target", "onxx"], "unknown exporter 'onxx'\nhint: did you mean 'onnx'?"),
        (["--method", "magnitud"], "unknown method 'magnitud'\nhint: did you mean 'magnitude'?"),
        (["--budget", "paramss=1M"], "unknown cost 'paramss'\nhint: did you mean 'params'?"),
        (["--option", "setting=small"], "model 'file' takes no options, got 'setting'"),
        (["--option", "setting"], "--option 'setting' has no value"),
    ],
)
def test_an_unknown_name_comes_with_the_closest(refused: Refused, flags: Sequence[str], said: str) -> None:
    assert said in refused(*flags, code=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('buget = "0.5x"', "unknown configuration key 'buget'\nhint: did you mean 'budget'?"),
        ("hooks = {los = 'x.py:loss'}", "did you mean 'hooks.loss'?"),
        ("floor = 1.5", "configuration key 'floor'"),
        ("method_options = {norm = 3}", "uniform"),
        ("hooks = {loss = 'x.py:loss'}", "x.py does not exist"),
        ("seed = ", "cannot be read as TOML"),
        ("seed = -1", "configuration key 'seed'"),
        ("seed = 9999999999", "configuration key 'seed'"),
        ("data_options = {seed = -1}\ndata = 'digits'\ninput_shape = [3, 8, 8]", "dataset 'digits': seed"),
        ("method_options = {norm = 'l2', size = 3}", "unknown option of uniform 'size'"),
        ("method = 'dcp'\nmethod_options = {images = 'many'}", "method 'dcp': images"),
        ("input_shape = [3, 1000000, 1000000]", "3,000,000,000,000 numbers"),
        ("input_shape = [3, 0, 8]", "an image of 3x0x8 cannot be"),
        ("floor = nan", "a number is nan"),
        ("multiple = 99999999999999999999999", "a whole number of 77 bits"),
        (f"model_options = {'{a = ' * 2000}1{'}' * 2000}", "nests more than 64 deep"),
        ("x" + ".x" * 2000 + " = 1", "a key has more than 32 parts"),
    ],
)
def test_a_configuration_that_does_not_fit(refused: Refused, folder: Path, line: str, said: str) -> None:
    if line.count("\n"):  # keys that are there already
        replaced = {each.partition(" ")[0] for each in line.splitlines()}
        path = folder / "run.toml"
        kept = [each for each in path.read_text().splitlines() if each.partition(" ")[0] not in replaced]
        path.write_text("\n".join(kept))
    configured(folder, line)
    assert said in refused(code=2)


def test_a_misspelt_key_of_a_recipe(refused: Refused, folder: Path) -> None:
    path = folder / "run.toml"
    path.write_text(path.read_text().replace("[pretrain]", "[pretrain]\nepoch = 2"))
    assert "did you mean 'pretrain.epochs'?" in refused(code=2)


def test_a_configuration_file_that_is_missing(capsys: Captured, tmp_path: Path) -> None:
    assert __main__.run(["prune", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml does not exist" in capsys.readouterr().err


def test_no_model_at_all(capsys: Captured) -> None:
    assert __main__.run(["prune"]) == 2
    assert "no 'model'" in capsys.readouterr().err


def test_a_file_of_the_user_that_fails(refused: Refused, folder: Path) -> None:
    (folder / "net.py").write_text("import no_such_package\n")
    said = refused(code=2)
    assert "net.py could not be imported: ModuleNotFoundError: No module named 'no_such_package'" in said


@pytest.mark.parametrize(("device", "hint"), [("usb", "latency import FILE"), ("cuda", "trained is --accelerator")])
def test_what_is_no_device_for_timing_says_what_is_meant(refused: Refused, device: str, hint: str) -> None:
    said = refused("--device", device, code=2)
    assert f"'{device}' is no device that files can be timed on" in said
    assert hint in said


def test_a_shape_with_crosses_is_written_anew(refused: Refused) -> None:
    assert "hint: write --input-shape 3,100,100" in refused("--input-shape", "3x100x100", code=2)


@pytest.mark.parametrize("flags", [("--budget", "5zz"), ("--budget", "0.5x,5zz"), ("--budget", "size=4ms")])
def test_a_budget_s_text_is_read_before_anything_is_opened(refused: Refused, folder: Path, flags: list[str]) -> None:
    said = refused(f"{folder}/nowhere.py:build", *flags, code=2)
    assert "nowhere" not in said


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("0.01x", "below the smallest network"),
        ("params=1", "below the smallest network"),
        ("900MMACs", "nothing to prune"),
        ("1.5x", "removes nothing"),
        ("half", "'half' is no budget"),
        ("0x", "leaves nothing"),
    ],
)
def test_a_budget_that_cannot_be(refused: Refused, folder: Path, budget: str, said: str) -> None:
    assert said in refused("--budget", budget, code=2)
    assert not (folder / "run" / "dense.json").exists()


def test_with_json_each_of_them_is_an_object(folder: Path, capsys: Captured) -> None:
    line = ["prune", "--config", f"{folder}/run.toml", "--budget", "0.01x", "--out", str(folder / "run"), "--json"]
    assert __main__.run(line) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["exit_code"]) == ("BudgetError", 2)
    assert "smallest network" in error["message"]


@pytest.mark.parametrize(
    ("hook", "body", "said"),
    [
        ("metric", "return 0.5", "your metric returned a float"),
        ("metric", "return outputs.mean()", "your metric gives shape ()"),
        ("metric", "return outputs[0][1][2]", "your metric failed in hooks.py:2: IndexError"),
        ("loss", "return 0.5", "your loss returned a float"),
        ("loss", "return outputs", "your loss returned a Tensor of shape"),
        ("loss", "return outputs.detach().sum()", "does not depend on the network's weights"),
        ("loss", "raise KeyError('x')", "your loss failed in hooks.py:2: KeyError: 'x'"),
    ],
)
def test_a_hook_of_the_user_that_gives_something_else(
    refused: Refused, folder: Path, hook: str, body: str, said: str
) -> None:
    (folder / "hooks.py").write_text(f"def mine(outputs, target):\n    {body}\n")
    configured(folder, f"hooks = {{{hook} = '{folder}/hooks.py:mine'}}")
    assert said in refused(code=2)


def test_names_in_an_error_do_not_steer_the_terminal(capsys: Captured) -> None:
    assert __main__.run(["inspect", "net\x1b[2J\nhint, run this"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown model 'net\\x1b[2J\n  hint, run this'\nhint: ")


def test_a_path_that_is_too_long(capsys: Captured) -> None:
    assert __main__.run(["inspect", "a" * 5000]) == 2
    assert "a path cannot be used: File name too long" in capsys.readouterr().err

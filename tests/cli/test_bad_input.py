"""Each kind of bad input has its own message and the exit code of its kind, through the real command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from tinyrun import toml, written

from deploy_prune import __main__
from deploy_prune.records import write_record
from deploy_prune.values import Plan

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


def configured(folder: Path, line: str) -> None:
    """The configuration with one more line before its tables."""
    path = folder / "run.toml"
    path.write_text(f"{line}\n{path.read_text()}")


def images(folder: Path, *, broken: int = 0, good: int = 16) -> Path:
    """Two classes of tiny photographs."""
    for name, shade in (("cats", 40), ("dogs", 200)):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(good):
            Image.new("RGB", (12, 10), (shade, number, 0)).save(folder / "photos" / name / f"{number}.png")
    for number in range(broken):
        (folder / "photos" / "cats" / f"broken{number}.png").write_bytes(b"\x89PNG no more")
    return folder / "photos"


# --- weights -------------------------------------------------------------------------------------------------


def test_missing_weights(refused: Refused, folder: Path) -> None:
    assert "nowhere.safetensors does not exist" in refused("--weights", folder / "nowhere.safetensors", code=2)


@pytest.mark.parametrize("name", ["bad.safetensors", "bad.pth"])
def test_corrupt_weights(refused: Refused, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80these are no tensors")
    assert f"{name} is corrupt" in refused("--weights", folder / name, code=2)


@pytest.mark.parametrize("name", ["page.safetensors", "page.pth"])
def test_a_text_in_the_place_of_weights_is_called_one(refused: Refused, folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    said = refused("--weights", folder / name, code=2)
    assert f"{name} is a text" in said
    assert "Git LFS" in said


def test_weights_of_another_number_of_classes(refused: Refused, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from deploy_prune.sources.networks import build_network

    with torch.random.fork_rng():
        other = build_network(f"{folder}/net.py:build", classes=7, input_shape=(3, 8, 8))
    save_file(other.module.state_dict(), folder / "seven.safetensors")
    said = refused("--weights", folder / "seven.safetensors", code=2)
    assert "the weights know 7 classes, the network has 4" in said


def test_a_network_of_another_number_of_classes_than_the_data(refused: Refused) -> None:
    assert "has 7 classes, tiny has 4" in refused("--classes", "7", code=2)


# --- images --------------------------------------------------------------------------------------------------


def test_a_missing_image_folder(refused: Refused, folder: Path) -> None:
    assert "nowhere does not exist" in refused("--data", f"imagefolder:{folder}/nowhere", code=2)


def test_an_empty_image_folder(refused: Refused, folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "holds no images" in refused("--data", f"imagefolder:{folder}/empty", code=2)


def test_one_class_is_named_with_what_to_do(refused: Refused, folder: Path) -> None:
    (images(folder) / "dogs").rename(folder / "elsewhere")
    said = refused("--data", f"imagefolder:{folder}/photos", code=2)
    assert "are of one class, 'cats'" in said
    assert "add a folder for every other class" in said


@pytest.mark.parametrize("source", ["imagefolder", "cifar10"])
def test_a_file_in_the_place_of_an_image_folder(refused: Refused, folder: Path, source: str) -> None:
    (folder / "photo.txt").write_text("a list")
    said = refused("--data", f"{source}:{folder}/photo.txt", code=2)
    assert "photo.txt is a file, not a folder" in said
    assert "hint: give the folder" in said


def test_a_path_alone_is_told_how_it_is_written(refused: Refused, folder: Path) -> None:
    said = refused("--data", images(folder), code=2)
    assert f"write imagefolder:{folder}/photos" in said
    assert "data.py:NAME" in refused("--data", f"{folder}/data.py", code=2)
    assert "net.py:NAME" in refused(f"{folder}/net.py", code=2)


@pytest.mark.parametrize(("device", "hint"), [("adb", "latency import FILE"), ("cuda", "trained is --accelerator")])
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


def test_a_refused_run_leaves_no_folder(refused: Refused, folder: Path) -> None:
    refused("--classes", "7", code=2, out=folder / "runs" / "first")
    assert not (folder / "runs").exists()


def test_a_tar_that_is_none(refused: Refused, folder: Path) -> None:
    (folder / "photos.tar").write_bytes(b"no archive")
    assert "is no readable .tar" in refused("--data", f"imagefolder:{folder}/photos.tar", code=2)


def test_images_that_are_all_broken(refused: Refused, folder: Path) -> None:
    images(folder, good=0, broken=16)
    (folder / "photos" / "dogs" / "x.png").write_bytes(b"nor this")
    said = refused("--data", f"imagefolder:{folder}/photos", code=2)
    assert "cannot be decoded, and no other image of this split can be used either" in said


def test_one_broken_image_among_good_ones_is_named_and_another_stands_in(
    refused: Refused, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = images(folder, broken=1)
    refused("--data", f"imagefolder:{photos}", "--input-shape", "3,8,8", code=0)
    assert re.search(r"cats/broken0\.png cannot be decoded: cats/\d+\.png stands in for it", caplog.text)


# --- names ---------------------------------------------------------------------------------------------------


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


# --- budgets and plans ---------------------------------------------------------------------------------------


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


def test_a_plan_that_does_not_fit(refused: Refused, folder: Path) -> None:
    write_record(folder / "plan.json", Plan(network="", keep={"up.0": (0, 99)}))
    assert "group 'up.0' keeps units that do not exist" in refused("--plan", folder / "plan.json", code=2)


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ('{"schema": 99}', "has schema 99")])
def test_a_plan_that_is_none(refused: Refused, folder: Path, text: str, said: str) -> None:
    (folder / "plan.json").write_text(text)
    assert said in refused("--plan", folder / "plan.json", code=2)


def test_a_plan_that_is_missing(refused: Refused, folder: Path) -> None:
    assert "plan.json does not exist" in refused("--plan", folder / "plan.json", code=2)


# --- run folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["report", "finetune", "inspect"])
def test_a_folder_that_is_no_run(verb: str, tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run([verb, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no run folder" in said or "holds no finished network" in said


def test_a_damaged_record(refused: Refused, folder: Path) -> None:
    refused(code=0)
    (folder / "run" / "cut.json").write_text('{"schema": 1, "kin')
    assert "cut.json is damaged" in refused(code=2)


# --- what is not installed -----------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("package", "flags", "extra"), [("onnxscript", ["--target", "onnx"], "onnx"), ("torch", [], "prune")]
)
def test_a_package_that_is_not_installed(folder: Path, package: str, flags: Sequence[str], extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from importlib import metadata; real = metadata.version\n"
        "def version(name):\n"
        f"    if name == {package!r}: raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.version = version\n"
        "from deploy_prune.__main__ import main; main()"
    )
    done = process(folder, ["-c", code, "prune", "--config", f"{folder}/run.toml", *flags], folder / "run")
    assert done.returncode == 3
    assert done.stderr.endswith(f"hint: pip install 'deploy-prune[{extra}]'\n"), done.stderr


# --- the file system -----------------------------------------------------------------------------------------


def process(folder: Path, arguments: Sequence[str], out: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, *arguments, "--out", str(out)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.heavy
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(folder: Path, refused: Refused) -> None:
    """A limit on the size of a file stands for the disk: the weights (about 20 kB) do not fit, records do."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "from deploy_prune.__main__ import main; main()"
    )
    done = process(folder, ["-c", code, "prune", "--config", f"{folder}/run.toml", "--no-finetune"], folder / "run")
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert not (folder / "run" / "dense.json").exists()
    refused(code=0)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that refuses everyone")
def test_a_place_where_nothing_can_be_written(refused: Refused) -> None:
    assert "choose another output" in refused(code=7, out="/proc/deploy-prune-run")


def test_a_file_where_the_folder_should_be(refused: Refused, folder: Path) -> None:
    (folder / "taken").touch()
    assert "taken" in refused(code=7, out=folder / "taken")
    assert "taken" in refused(code=7, out=folder / "taken" / "run")


def test_a_folder_that_holds_something_else(refused: Refused, folder: Path) -> None:
    assert "is not empty and no run folder" in refused(code=2, out=folder)


def test_changed_settings_of_a_run(refused: Refused) -> None:
    refused(code=0)
    assert "budget was '0.5x', now '0.6x'" in refused("--budget", "0.6x", code=2)


def test_with_json_each_of_them_is_an_object(folder: Path, capsys: Captured) -> None:
    line = ["prune", "--config", f"{folder}/run.toml", "--budget", "0.01x", "--out", str(folder / "run"), "--json"]
    assert __main__.run(line) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["exit_code"]) == ("BudgetError", 2)
    assert "smallest network" in error["message"]


def test_folders_beside_the_rounds_do_not_count(folder: Path, refused: Refused, capsys: Captured) -> None:
    refused(code=0)
    for name in ("round-abc", "round-", "round-²"):
        (folder / "run" / name).mkdir()
    assert __main__.run(["inspect", str(folder / "run"), "--trust-code"]) == 0


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

"""A configuration is a file with keys replaced; what does not fit is refused by name, with the closest known one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.errors import BudgetError, ConfigError, RecordError, UnknownName
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.records import to_json, write_record
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Budget


def toml(folder: Path, text: str) -> Path:
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def test_a_model_is_all_that_must_be_said() -> None:
    config = load_config(None, {"model": "resnet20"})
    assert config == RunConfig(model="resnet20")
    assert (config.data, config.budget, config.method) == ("digits", "0.5x", "uniform")


def test_flags_replace_single_keys_of_a_table(tmp_path: Path) -> None:
    path = toml(tmp_path, 'model = "net"\n[finetune]\nepochs = 2\nlr = 0.5\noptimizer = "adamw"\n')
    config = load_config(path, {"finetune": {"epochs": 9}})
    assert config.finetune == Recipe(epochs=9, lr=0.5, optimizer="adamw")


def test_epochs_alone_keep_the_learning_rate_of_fine_tuning() -> None:
    config = load_config(None, {"model": "net", "finetune": {"epochs": 3}})
    assert config.finetune == Recipe(epochs=3, lr=0.01)


def test_a_learning_rate_alone_keeps_the_epochs_of_fine_tuning() -> None:
    config = load_config(None, {"model": "net", "finetune": {"lr": 0.2}})
    assert config.finetune == Recipe(epochs=10, lr=0.2)


def test_no_finetuning_replaces_the_table_of_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, 'model = "net"\n[finetune]\nepochs = 2\n')
    assert load_config(path, {"finetune": None}).finetune is None


@pytest.mark.parametrize(
    ("text", "closest"),
    [
        ('model = "n"\nbuget = "0.5x"', "budget"),
        ('model = "n"\n[pretrain]\nepoch = 1', "pretrain.epochs"),
        ('model = "n"\n[finetune]\nepochs = 1\nlabel_smoothin = 0.1', "finetune.label_smoothing"),
        ('model = "n"\n[hooks]\nstp = "f.py:step"', "hooks.step"),
    ],
)
def test_an_unknown_key_comes_with_the_closest(tmp_path: Path, text: str, closest: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load_config(toml(tmp_path, text))
    assert f"did you mean '{closest}'?" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [("floor", 1.0), ("floor", -0.1), ("multiple", 0), ("scope", "outer"), ("classes", 0), ("threads", ["two"])],
)
def test_a_value_that_does_not_fit_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"configuration key '{key}"):
        load_config(None, {"model": "net", key: value})


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("lr", -1.0), ("precision", "fp8"), ("epochs", "many")])
def test_a_value_of_a_recipe_that_does_not_fit_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(None, {"model": "net", "finetune": {"epochs": 1, key: value}})


def test_the_seed_is_no_negative_number() -> None:
    with pytest.raises(ConfigError, match="configuration key 'seed'"):
        load_config(None, {"model": "net", "seed": -1})


def test_a_budget_is_kept_as_it_was_written_and_handed_out_as_a_value() -> None:
    config = RunConfig(model="net", budget="latency=0.5x")
    assert config.budget == "latency=0.5x"
    assert config.parsed_budget == Budget("latency", 0.5, True, "latency=0.5x")
    assert config.parsed_budget is config.parsed_budget
    assert config.model_copy(update={"budget": "0.7x"}).parsed_budget.limit == 0.7
    assert {key for key in dict(config) if "budget" in key} == {"budget"}


def test_what_is_no_budget_is_refused_when_the_file_is_read(tmp_path: Path) -> None:
    """It is a budget error with the hint how budgets are written, not one of a key of the configuration."""
    with pytest.raises(BudgetError, match="'half' is no budget") as refused:
        load_config(toml(tmp_path, 'model = "net"\nbudget = "half"'))
    assert "write 5ms" in refused.value.hint


def test_without_a_model_the_message_says_so() -> None:
    with pytest.raises(ConfigError, match="no 'model'"):
        load_config(None)


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe"])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml cannot be read"):
        load_config(tmp_path / "run.toml")


RECIPES = st.builds(Recipe, epochs=st.integers(1, 99), lr=st.floats(1e-6, 1), distill=st.floats(0, 1))


CONFIGURATIONS = st.builds(
    RunConfig,
    model=st.text(min_size=1),
    weights=st.none() | st.just(Path("a/b.pth")),
    input_shape=st.none() | st.tuples(*[st.integers(1, 512)] * 3),
    finetune=st.none() | RECIPES,
    targets=st.sampled_from([(), ("onnx",), ("tflite", "onnx")]),
    model_options=st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.booleans(), max_size=3),
)


@given(CONFIGURATIONS)
def test_a_configuration_survives_the_record_of_its_run(config: RunConfig) -> None:
    assert RunConfig.model_validate(to_json(config)) == config


@given(CONFIGURATIONS)
def test_a_run_folder_is_a_configuration(config: RunConfig) -> None:
    """What it was made with, but for the digests of the files it names, and what says where things are."""
    with tempfile.TemporaryDirectory() as folder:
        write_record(Path(folder) / "run.json", {**to_json(config), "weights_sha256": "0"}, dict)
        assert load_config(Path(folder)) == config
        assert load_config(Path(folder), {"budget": "0.25x"}).budget == "0.25x"


def test_a_folder_that_is_no_run_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run folder"):
        load_config(tmp_path)

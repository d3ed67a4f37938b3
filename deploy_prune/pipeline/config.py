"""What a run is asked to do: `run.toml` (or keywords) -> `RunConfig`; a key nobody knows is refused."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deploy_prune.bounded import parse_toml, read_text
from deploy_prune.budget.parse import parse
from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.processes.workers import USUAL
from deploy_prune.run_folder import read_asked
from deploy_prune.setting_rules import MOST_SEED, check_image_shape
from deploy_prune.timing.devices import THIS_MACHINE
from deploy_prune.train.recipe import Recipe, Wish
from deploy_prune.values import BY_DATA, Budget


class HookAddresses(BaseModel):
    """The user's own callables, as `path/to/file.py:name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: str | None = None
    metric: str | None = None
    step: str | None = None
    fit: str | None = None


class RunConfig(BaseModel):
    """Everything that decides the result of a run; its fields' notes are what `prune --help` says of its flags."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str
    """The address of a network (torchvision:NAME, timm:NAME, file.py:function), or a run folder to prune further."""
    model_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the model source, such as stem=cifar."""
    classes: int | None = Field(default=None, ge=1)
    """Classes of the network's output; as many as the data has, if not set."""
    input_shape: tuple[int, int, int] | None = None
    """Channels, height and width of one image, such as 3,224,224; the data's own, if not set."""
    weights: Path | None = None
    """Trained weights, a .safetensors or .pth file; without them the network is trained first, by [pretrain]."""
    data: str = "digits"
    """The images: digits, cifar10:DIR, cifar100:DIR, imagefolder:DIR, images:DIR (without labels),
    torchvision:NAME:DIR or file.py:function."""
    data_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the data source."""
    task: str = BY_DATA
    """What the network is for: classification; none for images without labels, on which a network is trained on and
    judged by what the dense network returns; auto takes what the data say."""
    budget: str = "0.5x"
    """How much may be left: 5ms, latency=0.5x, 0.5x (of the multiply-adds), 150MMACs, params=1.2M or size=4MB."""
    method: str = "uniform"
    """The method that decides what stays: obs, legr, slimming, dcp, dkp, magnitude, uniform or random."""
    method_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method, such as candidates=300."""
    scores: Path | None = None
    """A run folder (or file) whose scores are taken instead of the method's: no new search."""
    widths: str = "uniform"
    """What decides how many units dcp and dkp keep, which only select which: a method that scores, the run folder (or
    file) of one, or both (legr:RUN)."""
    widths_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method that decides widths."""
    select: str | None = None
    """What says which units stay, where the method (or a plan) says how many: a method that scores, such as obs, or the
    run folder (or file) of one. If not set, the method itself says it."""
    select_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method that says which units stay."""
    workers: str = USUAL
    """The workers that compute the candidates of a search: local (a process per core), 4, ray, ray:4."""
    multiple: int = Field(default=1, ge=1)
    """Widths are multiples of this; best left at 1 under a budget in milliseconds, which finds the stairs itself."""
    floor: float = Field(default=0.1, ge=0, lt=1)
    """Share of its units that every group keeps at least."""
    scope: Literal["full", "inner"] = "full"
    """What may be cut: full, or inner, which leaves groups alone that a residual add touches."""
    pretrain: Recipe | None = None
    """How the dense network is trained before it is pruned."""
    finetune: Recipe | None = Recipe(epochs=10, lr=0.01)
    """How the pruned network is trained. None: not at all."""
    refit: bool = True
    """After the cut, every layer is refitted to give what it gave before, by least squares on training images without
    their labels."""
    refit_images: int = Field(default=512, ge=2)
    """Training images that the refit looks at; more is a little better, and takes as much longer."""
    recalibrate_images: int = Field(default=2048, ge=0)
    """Training images for estimating the batch norms' statistics anew after the cut; 0: not at all."""
    accelerator: Wish = "auto"
    """Where networks are trained and judged: cpu, cuda or mps; auto takes the first GPU that can be used."""
    hooks: HookAddresses = HookAddresses()
    """The caller's own loss, metric, batch step or whole training."""
    targets: tuple[str, ...] = ("tflite", "onnx")
    """Formats that are shipped: tflite, onnx, coreml, executorch, coreai."""
    threads: tuple[int, ...] = (1,)
    """Thread counts to time with; empty: do not time. The first is that of a budget in milliseconds."""
    runtime: str = "litert"
    """What runs the file that a budget in milliseconds is of: litert or onnxruntime."""
    device: str = THIS_MACHINE
    """Where files are timed: an address, such as local (this machine) or ssh://pi@board; or, for a budget in
    milliseconds, the device of a latency table that was imported."""
    store: Path | None = None
    """The store of latency tables, in your cache folder by default."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Draws the weights of an untrained network, and whatever the method draws; a recipe has a seed of its own."""

    @field_validator("budget")
    @classmethod
    def _refuse_no_budget(cls, text: str) -> str:
        parse(text)
        return text

    @field_validator("input_shape")
    @classmethod
    def _refuse_impossible_shape(cls, shape: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if shape is not None:
            check_image_shape(shape)
        return shape

    @property
    def parsed_budget(self) -> Budget:
        """The budget as a value; `budget` is how it was written, and what is recorded."""
        return parse(self.budget)

    @property
    def code(self) -> tuple[str, ...]:
        """The addresses that may be of Python files: of the network, the data and the hooks."""
        hooks = (self.hooks.loss, self.hooks.metric, self.hooks.step, self.hooks.fit)
        return (self.model, self.data, *(address for address in hooks if address is not None))


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a TOML file or a run folder with some keys replaced; tables (`finetune`) are merged by key.

    Raises:
        ConfigError: the file is missing or no TOML, or a value does not fit.
        RecordError: the folder is not a run's, or its settings are damaged.
        BudgetError: the budget is none.
        UnknownName: a key that does not exist (the closest is offered).
    """
    values = {} if path is None else _read_settings(path) if path.is_dir() else _read(path)
    for key, value in (overrides or {}).items():
        both_tables = isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        values[key] = {**values[key], **value} if both_tables else value
    if isinstance(values.get("finetune"), dict):
        default = RunConfig.model_fields["finetune"].default
        values["finetune"] = {"epochs": default.epochs, "lr": default.lr} | values["finetune"]
    return check_config(values)


def check_config(values: Mapping[str, Any]) -> RunConfig:
    """The configuration of these keys.

    Raises:
        ConfigError: a value does not fit.
        BudgetError: the budget is none.
        UnknownName: a key that does not exist (the closest is offered).
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _explained(error) from error


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigError: it is none; names the source.
    """
    try:
        return parse_toml(text)
    except ValueError as error:
        hint = "docs/config.md has a complete example"
        raise ConfigError(f"{source} cannot be read as TOML: {error}", hint=hint) from error


def _read_settings(run: Path) -> dict[str, Any]:
    """What a run folder was made with, but for the digests of the files it names."""
    return {key: value for key, value in read_asked(run).items() if key in RunConfig.model_fields}


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_toml(read_text(path), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", hint="give --config a TOML file") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="give --config a TOML file in UTF-8") from error


def _explained(error: ValidationError) -> ConfigError | UnknownName:
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    # A misspelt key is missing under its right name as well: the misspelling is the news.
    first = min(error.errors(), key=lambda each: each["type"] not in unknown)
    *table, key = (str(part) for part in first["loc"] or ("",))
    place = ".".join([*table, key])
    if first["type"] in unknown:
        return UnknownName("configuration key", place, _known_keys(table))
    if first["type"] == "missing":
        return ConfigError(f"the configuration has no '{place}'", hint="set it in the file or by its flag")
    return ConfigError(f"configuration key '{place}': {first['msg']}, got {reprlib.repr(first['input'])}")


def _known_keys(table: list[str]) -> list[str]:
    if table[:1] in (["finetune"], ["pretrain"]):
        return [f"{table[0]}.{name}" for name in Recipe.__dataclass_fields__]
    if table[:1] == ["hooks"]:
        return [f"hooks.{name}" for name in HookAddresses.model_fields]
    return list(RunConfig.model_fields)

"""The methods that decide what is kept, the scores of another run, and the workers that compute for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.processes.workers import USUAL, WORKERS, Workers
from deploy_prune.run_folder import read_asked
from deploy_prune.scoring.best_scored import SELECTING, BestScored
from deploy_prune.scoring.methods import METHODS, Scorer, Selector
from deploy_prune.scoring.scores_file import SCORES
from deploy_prune.sources.data import require_labels
from deploy_prune.train.accelerator import CPU
from deploy_prune.values import Data


def build_deciders(config: RunConfig) -> tuple[Scorer | Path, Selector | None]:
    """What decides how many units every group keeps, and what selects which; None: the best-scored ones.

    Raises:
        UnknownName: no such method.
        ConfigError: a method that scores has widths from elsewhere, widths come from one that does not score, or two
            methods select.
    """
    scorer, selector = _build_method(config)
    if config.select is None:
        if config.select_options:
            raise ConfigError("select_options are of a method that is not given", hint="add --select METHOD")
        return scorer, selector
    if selector is not None:
        hint = "to take its widths alone, give the plan.json of its run: --plan RUN/plan.json --select METHOD"
        raise ConfigError(f"method '{config.method}' selects units by itself, and so would --select", hint=hint)
    return scorer, BestScored(find_selecting_file(config) or _build_selecting(config.select, config.select_options))


def _build_selecting(name: str, options: Mapping[str, Any]) -> Scorer:
    method = plugins.build(METHODS, name, options)
    if not isinstance(method, Scorer):
        hint = f"it is a method of its own: --method {name} --widths METHOD"
        raise ConfigError(f"method '{name}' does not score units", hint=hint)
    return method


def find_selecting_file(config: RunConfig) -> Path | None:
    """The scores that units are selected by, where `select` names a run folder or a file; None: a method does."""
    if config.select is None or config.select in plugins.list_names(METHODS):
        return None
    path = Path(config.select)
    if path.is_dir():
        return path / (SELECTING if (path / SELECTING).exists() else SCORES)
    return path if path.exists() else None


def _build_method(config: RunConfig) -> tuple[Scorer | Path, Selector | None]:
    method = plugins.build(METHODS, config.method, config.method_options)
    selector = method if isinstance(method, Selector) else None
    if isinstance(method, Scorer):
        if config.widths != RunConfig.model_fields["widths"].default or config.widths_options:
            hint = "--widths is for methods that only select: dcp, dkp"
            raise ConfigError(f"method '{config.method}' decides widths by itself", hint=hint)
        return config.scores or method, selector
    if config.scores is not None:
        return config.scores, selector
    if (ranked := find_widths_file(config)) is not None:
        return ranked, selector
    return build_scorer(config.widths, config.widths_options), selector


def check_labels(config: RunConfig, data: Data) -> None:
    """Refuse a method that trains on labels, where the images have none.

    Raises:
        DataError: names the method.
    """
    scorer, selector = build_deciders(config)
    scores_itself = isinstance(plugins.build(METHODS, config.method, config.method_options), Scorer)
    named: list[tuple[str, Scorer | Selector | Path | None]] = [
        (config.method if scores_itself else config.widths, scorer),
        (config.select or "", selector.scorer) if isinstance(selector, BestScored) else (config.method, selector),
    ]
    for name, decider in named:
        if not isinstance(decider, Path | None) and decider.needs_labels:
            require_labels(data, data.train, f"method '{name}'")


def build_scorer(name: str, options: Mapping[str, Any] | None = None) -> Scorer:
    """A method that says how many units every group keeps.

    Raises:
        UnknownName: no such method or option.
        ConfigError: the method only selects which units stay.
    """
    method = plugins.build(METHODS, name, options)
    if not isinstance(method, Scorer):
        hint = "dcp and dkp select at widths of another method: uniform, legr, slimming, magnitude"
        raise ConfigError(f"method '{name}' does not decide widths", hint=hint)
    return method


def find_widths_file(config: RunConfig) -> Path | None:
    """The scores that decide widths, where `widths` names a run folder or a file; None: it names a method.

    Raises:
        ConfigError: `legr:RUN`, and that run's widths are not by `legr`.
    """
    if config.widths in plugins.list_names(METHODS):
        return None
    method, _, named = config.widths.partition(":")
    known = method in plugins.list_names(METHODS)
    path = Path(named if known else config.widths)
    if not path.exists():
        return None
    if known and path.is_dir():
        made = read_asked(path)
        if method not in (made.get("method"), made.get("widths")):
            message = f"the widths of {path} are by '{made.get('method')}', not by '{method}'"
            raise ConfigError(message, hint=f"--widths {path} takes them as they are")
    return path / SCORES if path.is_dir() else path


def build_workers(config: RunConfig, accelerator: torch.device = CPU) -> Workers:
    """The workers that `2` (processes of this machine), `ray` or `ray:4` name; a GPU has one unless a number is given.

    Raises:
        UnknownName: no such workers.
        ConfigError: not a number of processes, or workers that do not share this accelerator.
    """
    text = f"{USUAL}:{config.workers}" if config.workers.isdigit() else config.workers
    name, _, count = text.partition(":")
    if count and not count.isdigit():
        raise ConfigError(f"'{config.workers}' names no workers", hint="write 4, ray or ray:4")
    on_gpu = accelerator != CPU
    if on_gpu and name == "ray":
        hint = "give --accelerator cpu, or leave --workers out: one process keeps a GPU busy"
        raise ConfigError(f"workers 'ray' compute on the CPU alone, the run is on {accelerator.type}", hint=hint)
    processes = int(count) if count else int(on_gpu)
    built: Workers = plugins.build(WORKERS, name, {"processes": processes} if processes else {})
    return built

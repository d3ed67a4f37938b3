"""Mobile deployment toolchain: prune, export, verify and time a CNN on the device that will run it.

Every verb of the command line is a function here; importing the package imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deploy_prune.version import __version__ as __version__

if TYPE_CHECKING:
    from deploy_prune.checkpoint import load
    from deploy_prune.config import RunConfig
    from deploy_prune.diagnosis import diagnose as doctor
    from deploy_prune.dropping import within_drop
    from deploy_prune.explaining import explain
    from deploy_prune.exporting import export
    from deploy_prune.front import front as prune_front
    from deploy_prune.images import ArrayImages
    from deploy_prune.inspection import inspect
    from deploy_prune.latency.profiling import profile
    from deploy_prune.measure import bench
    from deploy_prune.pipeline import demo, finetune, prune
    from deploy_prune.planning import outlook as plan
    from deploy_prune.reading import describe
    from deploy_prune.reporting import report
    from deploy_prune.sensitivities import sensitivity
    from deploy_prune.train.recipe import Hooks, Recipe
    from deploy_prune.values import Data, Network

__all__ = [
    "ArrayImages",
    "Data",
    "Hooks",
    "Network",
    "Recipe",
    "RunConfig",
    "bench",
    "demo",
    "describe",
    "doctor",
    "explain",
    "export",
    "finetune",
    "inspect",
    "load",
    "plan",
    "profile",
    "prune",
    "prune_front",
    "report",
    "sensitivity",
    "within_drop",
]

_HOMES = {
    "ArrayImages": ("images", "ArrayImages"),
    "Data": ("values", "Data"),
    "Hooks": ("train.recipe", "Hooks"),
    "Network": ("values", "Network"),
    "Recipe": ("train.recipe", "Recipe"),
    "RunConfig": ("config", "RunConfig"),
    "bench": ("measure", "bench"),
    "demo": ("pipeline", "demo"),
    "describe": ("reading", "describe"),
    "doctor": ("diagnosis", "diagnose"),
    "explain": ("explaining", "explain"),
    "export": ("exporting", "export"),
    "finetune": ("pipeline", "finetune"),
    "inspect": ("inspection", "inspect"),
    "load": ("checkpoint", "load"),
    "plan": ("planning", "outlook"),
    "profile": ("latency.profiling", "profile"),
    "prune": ("pipeline", "prune"),
    "prune_front": ("front", "front"),
    "report": ("reporting", "report"),
    "sensitivity": ("sensitivities", "sensitivity"),
    "within_drop": ("dropping", "within_drop"),
}
"""Public name -> (module, its name there). No module may bear a public name: it would take its place once imported."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deploy_prune' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return vars(importlib.import_module(f"deploy_prune.{module}"))[attribute]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

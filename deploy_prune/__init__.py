"""Mobile deployment toolchain: prune, export, verify and time a CNN on the device that will run it.

Every verb of the command line is a function here; importing the package imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deploy_prune.version import __version__ as __version__

if TYPE_CHECKING:
    from deploy_prune.analysis.bench import bench
    from deploy_prune.analysis.describe import describe
    from deploy_prune.analysis.devices import examine_all as devices
    from deploy_prune.analysis.doctor import diagnose as doctor
    from deploy_prune.analysis.explain import explain
    from deploy_prune.analysis.gating.gate import run_gate as gate
    from deploy_prune.analysis.gating.history import read_history as history
    from deploy_prune.analysis.report import report
    from deploy_prune.budget.latency.profiling import profile
    from deploy_prune.bundling.bundle import bundle
    from deploy_prune.bundling.checking import check_bundle
    from deploy_prune.bundling.order import BundleOrder
    from deploy_prune.exporting.export import export
    from deploy_prune.pipeline.config import RunConfig
    from deploy_prune.pipeline.front import front as prune_front
    from deploy_prune.pipeline.inspection import inspect
    from deploy_prune.pipeline.max_drop import within_drop
    from deploy_prune.pipeline.outlook import outlook as plan
    from deploy_prune.pipeline.refit_again import refit
    from deploy_prune.pipeline.run import demo, finetune, prune
    from deploy_prune.scoring.sensitivity import sensitivity
    from deploy_prune.sources.checkpoint import load
    from deploy_prune.sources.images import ArrayImages
    from deploy_prune.train.recipe import Hooks, Recipe
    from deploy_prune.trust import trust_code
    from deploy_prune.values import Data, Network

__all__ = [
    "ArrayImages",
    "BundleOrder",
    "Data",
    "Hooks",
    "Network",
    "Recipe",
    "RunConfig",
    "bench",
    "bundle",
    "check_bundle",
    "demo",
    "describe",
    "devices",
    "doctor",
    "explain",
    "export",
    "finetune",
    "gate",
    "history",
    "inspect",
    "load",
    "plan",
    "profile",
    "prune",
    "prune_front",
    "refit",
    "report",
    "sensitivity",
    "trust_code",
    "within_drop",
]

_HOMES = {
    "ArrayImages": ("sources.images", "ArrayImages"),
    "BundleOrder": ("bundling.order", "BundleOrder"),
    "Data": ("values", "Data"),
    "Hooks": ("train.recipe", "Hooks"),
    "Network": ("values", "Network"),
    "Recipe": ("train.recipe", "Recipe"),
    "RunConfig": ("pipeline.config", "RunConfig"),
    "bench": ("analysis.bench", "bench"),
    "bundle": ("bundling.bundle", "bundle"),
    "check_bundle": ("bundling.checking", "check_bundle"),
    "demo": ("pipeline.run", "demo"),
    "describe": ("analysis.describe", "describe"),
    "devices": ("analysis.devices", "examine_all"),
    "doctor": ("analysis.doctor", "diagnose"),
    "explain": ("analysis.explain", "explain"),
    "export": ("exporting.export", "export"),
    "finetune": ("pipeline.run", "finetune"),
    "gate": ("analysis.gating.gate", "run_gate"),
    "history": ("analysis.gating.history", "read_history"),
    "inspect": ("pipeline.inspection", "inspect"),
    "load": ("sources.checkpoint", "load"),
    "plan": ("pipeline.outlook", "outlook"),
    "profile": ("budget.latency.profiling", "profile"),
    "prune": ("pipeline.run", "prune"),
    "prune_front": ("pipeline.front", "front"),
    "refit": ("pipeline.refit_again", "refit"),
    "report": ("analysis.report", "report"),
    "sensitivity": ("scoring.sensitivity", "sensitivity"),
    "trust_code": ("trust", "trust_code"),
    "within_drop": ("pipeline.max_drop", "within_drop"),
}
"""Public name -> (module, its name there). No module may bear a public name: it would take its place once imported."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deploy_prune' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return vars(importlib.import_module(f"deploy_prune.{module}"))[attribute]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

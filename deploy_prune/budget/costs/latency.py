"""Milliseconds of the exported file on a named target, by the latency model that `deploy-prune profile` made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy_prune.budget.costs import Cost, CostModel
from deploy_prune.budget.latency.model import USUAL_BOUND, LatencyCost
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.profiling import find_model
from deploy_prune.budget.latency.store import open_store
from deploy_prune.timing.devices import MILLISECONDS, THIS_MACHINE, device_at, is_address
from deploy_prune.values import FP32, ChannelGraph, Precision, same_unit


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the store of latency tables; nothing is measured here."""

    runtime: str = "litert"
    device: str = THIS_MACHINE
    threads: int = 1
    precision: Precision = FP32
    store: Path | None = None
    """None: the usual one."""
    bound: float = USUAL_BOUND
    """Mean error of the model above which it is refused."""

    @property
    def unit(self) -> str:
        """The unit of the device; what stands in a table that was imported is milliseconds."""
        return device_at(self.device).unit if is_address(self.device) else MILLISECONDS

    def model(self, graph: ChannelGraph) -> CostModel:
        """Milliseconds of the widths.

        Raises:
            NotProfiled: this network was not measured there, or with another version of the runtime.
            Inconclusive: its model errs too much.
            UnitError: its table is in another unit than the device counts in.
        """
        place = Place(self.runtime, self.device, self.threads, self.precision)
        with open_store(self.store, make=False) as store:
            model = find_model(graph, place.target, store, bound=self.bound)
        same_unit(self.unit, model.profile.unit)
        return LatencyCost.of(model, graph)


plugin: type[Cost] = Latency

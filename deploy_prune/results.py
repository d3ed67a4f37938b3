"""What each stage of a run found out, as it reaches disk; imports no torch, so a report can be written anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy_prune.values import (
    Count,
    GroupCurve,
    GroupRow,
    Interval,
    LayerRefit,
    Measurement,
    Plan,
    Quality,
    Shipment,
    Target,
    same_unit,
)

ALLOWED = 1.03
"""The share of a budget in milliseconds that timing it again may give."""
Outcome = Literal["faster", "no speed-up", "not verified", "not timed"]


@dataclass(frozen=True)
class DenseResult:
    """The network before anything is removed."""

    count: Count
    val: Quality
    weights: str
    """Where its weights came from."""
    seconds: float
    """How long the stage took, as in every result below."""
    accelerator: str = "cpu"
    """Where it was trained and judged, such as `cuda (NVIDIA H100 PCIe)`."""
    weights_as_built: bool = False
    """Whether these are the weights that the model source built: neither weights nor a pretraining were given."""
    judged: str = ""
    """How the outputs of this run's networks were judged, in words, where the quality's name does not say it all."""

    @property
    def caution(self) -> str:
        """What to know before believing the qualities of a run; empty where there is nothing."""
        if not self.weights_as_built:
            return ""
        return (
            "Neither weights nor [pretrain] were given: what was pruned are the weights that the model source built. "
            "If nobody has trained them, every quality here is that of an untrained network."
        )


@dataclass(frozen=True)
class ProfileResult:
    """How a network was profiled for a budget in milliseconds; the samples themselves are in the store."""

    network: str
    """The network's address."""
    target: Target
    """What the network was timed on, and by which runtime."""
    reference: float
    """What the dense network takes, in `unit`."""
    unit: str
    """What the reference is counted in, such as "ms"."""
    samples: int
    """Plans that were timed, those included that the store had already."""
    mean_error: float
    """The latency model's mean error on plans that it was not shown, as a share of their time."""
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """A plan that was exported and timed against the dense network's file before it was trained."""

    aim: float
    """The limit that the allocation was given."""
    predicted: float
    """What the latency model expected of the plan."""
    measured: float
    """What its file took: the ratio to the dense file times the target's reference."""
    interval: Interval
    """The 95 % interval of what was measured."""
    unit: str
    """What all of these are counted in, such as "ms"."""


@dataclass(frozen=True)
class Closing:
    """How a budget in milliseconds was met on real files."""

    target: Target
    """What plans were timed on, and by which runtime."""
    limit: float
    """The budget, in `unit`."""
    reference: float
    """What a ratio of 1 to the dense network stands for."""
    unit: str
    """What the limit, the reference and the attempts are counted in, such as "ms"."""
    attempts: tuple[Attempt, ...]
    """The plans that were timed, in order."""
    chosen: int
    """The place of the attempt that goes on."""


@dataclass(frozen=True)
class WidthsResult:
    """How many units are kept, before a method that selects which of them says so."""

    widths: dict[str, int]
    """The units kept of every group that may be cut."""
    locked: dict[str, str]
    """Groups that may not be cut -> the reason that came to light while the widths were decided."""
    closing: Closing | None = None
    """How a budget in milliseconds was met with real files; None: the budget is of something else."""
    curves: tuple[GroupCurve, ...] = ()
    """What each group loses at its widths; empty where scores do not add up, and in a run of before."""


@dataclass(frozen=True)
class PlanResult:
    """What is removed."""

    plan: Plan
    """The units that stay."""
    method: str
    """The method that chose them."""
    groups: tuple[GroupRow, ...]
    """What is left of every group."""
    seconds: float
    closing: Closing | None = None
    """How a budget in milliseconds was met with real files; None: the budget is of something else."""
    curves: tuple[GroupCurve, ...] = ()
    """What each group loses at its widths; empty where scores do not add up, and in a run of before."""


@dataclass(frozen=True)
class RefitResult:
    """What the closed-form refit of the cut network came to; no label was used."""

    images: int
    """How many training images it looked at."""
    images_sha256: str
    """The digest of these images, as the network takes them."""
    layers: tuple[LayerRefit, ...]
    """What became of every layer behind the first change, in order."""
    errors: dict[str, float]
    """What could go on -> how far its outputs are from those of the network before the cut, on images that nothing was
    fitted to: the squared error as a share of their variance, of class scores at the scale that fits best."""
    chosen: str
    """The one of these with the least error, which goes on."""
    seconds: float
    val: Quality | None = None
    """The quality of what goes on, on validation."""

    @property
    def kept(self) -> int:
        """How many layers have new weights."""
        return sum(layer.kept for layer in self.layers)


@dataclass(frozen=True)
class CutResult:
    """The physically smaller network, not yet trained."""

    count: Count
    predicted_macs: int
    """MACs by the trace of the dense network, which the trace of the cut one has confirmed."""
    val: Quality
    """The quality on validation straight after the cut."""
    val_recalibrated: Quality | None
    """The quality after the batch norms' statistics were estimated anew; None: they were not, or behind a refit."""
    kernel_macs: int | None = None
    """MACs without those of removed kernels, which no runtime here skips; None where none were removed."""
    law_error: float | None = None
    """How far the cut network was, before anything was estimated anew, from the dense one with the removed channels at
    zero: max |difference| / max |output| on two random images. None: nothing could be said, or a run of before."""
    difference: str = ""
    """How and why fvcore's `count` is not `predicted_macs`; empty where it is, and in a run of before."""
    rescalings: tuple[str, ...] = ()
    """The operators and lines that multiply or divide by another number than in the dense network, as its forward pass
    makes that number of its widths."""
    refit: RefitResult | None = None
    """How the layers were refitted after the cut; None: they were not, as in a run of before."""

    @property
    def judged(self) -> Quality:
        """The quality on validation of what goes on to the training."""
        return (self.refit.val if self.refit else None) or self.val_recalibrated or self.val


@dataclass(frozen=True)
class TrainResult:
    """The pruned network after one round of fine-tuning (0 epochs: none was asked for)."""

    val: Quality
    """The quality on validation after the training."""
    epochs: int
    """How many epochs it was fine-tuned."""
    seconds: float
    accelerator: str = "cpu"
    """Where it was trained and judged: a run may go on elsewhere."""
    given_up: Quality | None = None
    """The quality on validation after the training, where the refitted network is better and goes on in its place;
    `val` is then that network's. None: what was trained goes on."""


@dataclass(frozen=True)
class TestResult:
    """Both networks on the test images, looked at once."""

    dense: Quality
    """The dense network's quality."""
    pruned: Quality
    """The pruned network's quality, after fine-tuning."""
    difference: float
    """The pruned network's value minus the dense network's."""
    interval: Interval
    """The 95 % interval of the difference, paired on the same images where both have a number per image."""


@dataclass(frozen=True)
class ShipResult:
    """Both networks in every format."""

    dense: tuple[Shipment, ...]
    pruned: tuple[Shipment, ...]


@dataclass(frozen=True)
class BenchResult:
    """Dense and pruned files, timed in turns."""

    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class RunSummary:
    """A finished run."""

    dense: DenseResult
    plan: PlanResult
    cut: CutResult
    trained: TrainResult
    test: TestResult
    ship: ShipResult
    bench: BenchResult

    @property
    def speedups(self) -> tuple[Measurement, ...]:
        """The pruned files' measurements: their `ratio` is time / time of the dense file of that format."""
        return tuple(item for item in self.bench.measurements if item.ratio is not None)

    @property
    def not_faster(self) -> tuple[Measurement, ...]:
        """Those of the pruned files that are not faster for certain than the dense file of their format."""
        return tuple(item for item in self.speedups if item.ratio_interval is None or item.ratio_interval[1] >= 1)

    @property
    def shipped_time(self) -> tuple[float, Interval] | None:
        """What the shipped file takes of a budget in milliseconds, in the unit of `Closing`, and its interval.

        None: it was not timed there, or there is no such budget.

        Raises:
            UnitError: it was timed in another unit than the budget's.
        """
        closing = self.plan.closing
        for item in self.speedups if closing else ():
            assert closing
            assert item.ratio is not None
            if item.ratio_interval and (item.target.runtime, item.target.threads) == (
                closing.target.runtime, closing.target.threads
            ):  # fmt: skip
                low, high = item.ratio_interval
                same_unit(item.unit, closing.unit)
                return item.ratio * closing.reference, (low * closing.reference, high * closing.reference)
        return None

    @property
    def missed_by(self) -> float:
        """The share of the budget by which the shipped file is too slow for certain; 0 where it is not."""
        if self.plan.closing is None or self.shipped_time is None:
            return 0.0
        fastest, limit = self.shipped_time[1][0], self.plan.closing.limit
        return fastest / limit - 1 if fastest > ALLOWED * limit else 0.0

    @property
    def outcome(self) -> Outcome:
        """Whether what was shipped is verified, and faster than the dense network on every target it was timed on."""
        if any(row.status == "failed" for row in self.ship.pruned):
            return "not verified"
        if not self.speedups:
            return "not timed"
        return "no speed-up" if self.not_faster else "faster"

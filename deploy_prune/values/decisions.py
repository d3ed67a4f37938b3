"""What is decided: budgets, scores, and the units that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


Widths = Mapping[str, int]
"""Group name -> units kept."""

Keep = Mapping[str, tuple[int, ...]]
"""Group name -> the numbers of the units that stay, ascending; a group that is not named stays whole."""


@dataclass(frozen=True)
class Budget:
    """An upper limit of one cost; `relative` limits are fractions of the dense network's."""

    cost: str
    """The name of the cost that is limited, such as `latency` or `macs`."""
    limit: float
    """The most that a plan may cost: in `unit`, or a share of the dense network's cost where it is `relative`."""
    relative: bool
    """Whether the limit is a share: 0.5 of `0.5x`."""
    text: str
    """The budget in the user's words, such as `8ms`."""
    unit: str = ""
    """What the limit is counted in ("ms", "MACs"); empty: the cost's own unit, whatever that is."""


@dataclass(frozen=True, eq=False)
class Scores:
    """How much each unit matters; unless they add up, only the order counts, across the whole network."""

    by_group: Mapping[str, np.ndarray]
    """Free group -> a number per unit of the dense network, the higher the more it matters: shape (units,)."""
    weights: Mapping[str, Tensor] | None = None
    """New weights in the dense network's shapes, from a method that trains while it scores."""
    additive: bool = False
    """Whether scores are losses that add up: a plan loses the sum of the scores of the units that go."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Which units stay, and kernel masks per layer where a method removes single kernels."""

    keep: Mapping[str, tuple[int, ...]]
    """Group -> sorted unit numbers that stay; a group that is not named stays whole."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Weight -> where a kernel stays: bool, in the dense network's shape."""
    weights: Mapping[str, Tensor] | None = None
    """New weights in the dense network's shapes; 0 wherever a removed unit is read."""
    method: str = ""
    """What results call the method; empty: its name."""


@dataclass(frozen=True)
class Plan:
    """What is kept of a dense network, always in the dense network's unit numbers; the file is made to be edited."""

    network: str
    """The address of the dense network."""
    keep: Mapping[str, tuple[int, ...]]
    """Group -> sorted unit numbers that stay; a group that is not named stays whole."""
    budget: str = ""
    """The budget in the user's words, such as `8ms`; empty: the plan was made without one."""
    asked: float | None = None
    """The most that the plan was allowed to cost, in the cost's unit (ms, MACs, bytes), as are the next two."""
    reached: float | None = None
    """What the plan costs, predicted where the cost is a prediction (ms)."""
    dense: float | None = None
    """What the dense network costs."""
    cost: str = ""
    """The name of the cost, such as `latency`."""


@dataclass(frozen=True)
class GroupCurve:
    """What a group loses at its widths, where losses add up, and what the network costs there."""

    name: str
    """The group."""
    widths: tuple[int, ...]
    """Widths that a plan may give it, ascending, in units: shape (points,); the last one is the dense width."""
    errors: tuple[float, ...]
    """What is lost at each width: squared error as a share of the variance of what the group's readers give to the
    network, summed over these readers; shape (points,), 0 at the dense width."""
    costs: tuple[float, ...]
    """What the network costs with this group alone at each width, the others as the plan has them: shape (points,)."""
    unit: str
    """What the costs are counted in, such as "ms"."""

"""The contract of a template format: an exported file as numbers, and the same file again with other numbers.

Everything in a file that may depend on the widths of its network (dimensions, the values of shape-like constants, the
groups of a convolution) is one entry of a list of whole numbers. What else there is, its wiring, stays as it is.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from deploy_prune.plugins import Kind
from deploy_prune.values import FP32, Precision

if TYPE_CHECKING:
    import numpy as np


OperatorKind = Literal["pointwise", "convolution", "grouped", "depthwise", "dense", "elementwise", "activation", "move"]
"""What bounds an operator's time: multiply-adds over channels ("pointwise" to "dense"), or the bytes it moves.

"activation" follows the operator that makes its input, and runtimes fuse the two.
"""
WEIGHTED: tuple[OperatorKind, ...] = ("pointwise", "convolution", "grouped", "depthwise", "dense")

TILES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("pointwise", "convolution", "grouped"), (4, 8, 16, 32, 64)),
    **dict.fromkeys(("depthwise", "dense"), (4, 8, 16, 32)),
}
"""Kind of operator -> tiles of channels that kernels of today's processors work in."""


@dataclass(frozen=True)
class Operator:
    """One operator of a file; dimensions are given by the places where they stand in the file's numbers."""

    name: str
    """In the format's own terms: CONV_2D."""
    kind: OperatorKind
    inputs: tuple[tuple[int, ...], ...]
    """Places of the dimensions of every tensor it reads that another operator made."""
    outputs: tuple[tuple[int, ...], ...]
    weight: tuple[int, ...] = ()
    """Places of the dimensions of its weight."""
    channels_in: int = -1
    """Place of the input's channels; of weighted operators."""
    channels_out: int = -1
    kernel: int = 1
    """Elements of the window."""
    stride: int = 1
    label: str = ""
    """What the file itself calls it, as far as that says something."""


@dataclass(frozen=True, eq=False)
class Structure:
    """What a file says, taken apart."""

    wiring: tuple[Any, ...]
    """All that does not depend on widths; equal in files that the same converter made of the same network."""
    numbers: np.ndarray
    """int64."""
    operators: tuple[Operator, ...]


class Template(Protocol):
    """A parsed file that can be written again at other sizes. Not a value: it is a workbench."""

    @property
    def structure(self) -> Structure:
        """The structure of the file as it was read."""

    def resized(self, numbers: np.ndarray) -> bytes:
        """The whole file with other numbers; constants whose size changed repeat what they held."""

    def single(self, numbers: np.ndarray, operator: int) -> bytes:
        """A file of that operator alone, at these numbers."""


class TemplateFormat(Protocol):
    """One format."""

    suffix: ClassVar[str]
    exporter: ClassVar[str]
    """The exporter plugin that makes such files."""
    runtime: ClassVar[str]
    """The runtime plugin that runs them."""
    tiles: ClassVar[Mapping[str, tuple[int, ...]]]
    """Kind of operator -> multiples of channels that this runtime's kernels may work in, on any processor."""

    def read(self, content: bytes, precision: Precision = FP32) -> Template:
        """Take a file apart.

        Raises:
            InputError: damaged, or of another precision.
        """


def appended(numbers: list[int], values: Sequence[int]) -> range:
    """Put values at the end of a file's numbers; the places where they stand then."""
    start = len(numbers)
    numbers.extend(int(value) for value in values)
    return range(start, len(numbers))


TEMPLATES: Kind[TemplateFormat] = Kind("templates")

"""The nouns: every value that crosses from one stage to the next. All are frozen; none knows how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

Precision = Literal["fp32", "fp16"]
Layout = Literal["nchw", "nhwc"]
InputKind = Literal["float", "uint8"]
Interval = tuple[float, float]


class Progress(Protocol):
    """Told how far a long stage is; the command line draws it, a library caller may ignore it."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `task` are finished."""


def quiet(task: str, done: int, total: int, note: str = "") -> None:
    """The progress that nobody watches."""


# --- networks and data ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Network:
    """A network and what is needed to call it.

    `input_shapes` are without the batch axis, channels first: `((3, 224, 224),)`.
    `address` rebuilds the dense architecture (`torchvision:mobilenet_v2`), `options` are its keywords.
    """

    address: str
    module: nn.Module
    input_shapes: tuple[tuple[int, ...], ...]
    classes: int
    options: Mapping[str, object] = field(default_factory=dict)
    kept: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict)
    """What earlier cuts left of the dense architecture: parameter -> axis -> dense indices, for axes that lost some."""
    whole_groups: Mapping[str, bool] = field(default_factory=dict)
    """How earlier cuts took grouped convolutions apart (weight -> `Layer.whole_groups`); later ones do the same."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Weight -> where it may be other than 0 (bool, its shape): kernels that were removed from a dense tensor."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the first (for a classifier: the only) input, without the batch axis."""
        return self.input_shapes[0]


class ImageSet(Protocol):
    """Some labelled images; `read` gives any of them as uint8, so that memory is the implementation's choice."""

    @property
    def labels(self) -> np.ndarray:
        """int64, shape (images,)."""

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 images, shape (len(indices), height, width, channels)."""


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set in three splits that never change.

    Every decision looks at `train` and `val` alone; `test` is looked at once, for the report.
    A network's input is (image / 255 - mean) / std.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    train: ImageSet
    val: ImageSet
    test: ImageSet
    flip: bool
    """Whether a mirrored image keeps its label (no for digits)."""
    crop_padding: int
    """Pixels of padding for a random crop while training; 0: no crop."""


@dataclass(frozen=True)
class Accuracy:
    """Top-1 on some images; `hits` says image by image, so that two networks can be compared in pairs."""

    top1: float
    interval: Interval
    images: int
    loss: float
    hits: tuple[bool, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Normalisation:
    """What a network takes: (pixel / 255 - mean) / std per channel, of pixels from 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# --- the channel graph ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Member:
    """Where a group's units live in one axis of one parameter (or buffer)."""

    parameter: str
    axis: int
    indices: np.ndarray
    """int64, shape (units of the group, indices per unit)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are removed by the same rule: the smallest thing a plan can keep or drop is one unit."""

    name: str
    width: int
    """Units in the dense network."""
    channels_per_unit: int
    members: tuple[Member, ...]
    residual: bool = False
    """Whether one of its tensors enters or leaves a residual add (`full` mode cuts these, `inner` does not)."""
    locked: str | None = None
    """Why no unit may be removed: the operator and the source line; None: free."""


@dataclass(frozen=True)
class Layer:
    """One operator with a weight, as it was called."""

    name: str
    operator: str
    weight: str
    positions: int
    """Output positions the weight is applied at; MACs = positions x elements of the weight."""
    bias: str | None = None
    whole_groups: bool = False
    """A grouped convolution that loses whole groups (otherwise the same place in every group)."""
    output_axis: int = 0
    """The axis of the weight that makes its channels: 1 for a transposed convolution and for `x @ weight`."""


@dataclass(frozen=True, eq=False)
class Gather:
    """A constant channel index (a buffer) that picks channels by position and must be rewritten by surgery."""

    buffer: str
    units: np.ndarray
    """Per channel of the input the global unit number, -1 where the channel cannot be removed."""


@dataclass(frozen=True, eq=False)
class ChannelGraph:
    """What may be cut in a network, and what each cut entails."""

    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    gathers: tuple[Gather, ...]
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every parameter and buffer."""
    parameters: frozenset[str]
    """Names of the parameters among them (the rest are buffers)."""
    fixed_macs: int = 0
    """MACs of products without a weight (attention)."""

    @property
    def made(self) -> frozenset[tuple[str, int]]:
        """Every (weight, axis) that makes channels."""
        return frozenset((layer.weight, layer.output_axis) for layer in self.layers)

    @property
    def free(self) -> tuple[Group, ...]:
        """The groups that may be cut."""
        return tuple(group for group in self.groups if group.locked is None)


# --- decisions -----------------------------------------------------------------------------------------------

Widths = Mapping[str, int]
"""Group name -> units kept."""


@dataclass(frozen=True)
class Budget:
    """An upper limit of one cost; `relative` limits are fractions of the dense network's."""

    cost: str
    limit: float
    relative: bool
    text: str


@dataclass(frozen=True, eq=False)
class Scores:
    """How much each unit matters; only the order counts, across the whole network."""

    by_group: Mapping[str, np.ndarray]
    weights: Mapping[str, Tensor] | None = None
    """New weights in the dense network's shapes, from a method that trains while it scores."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Which units stay, and kernel masks per layer where a method removes single kernels."""

    keep: Mapping[str, tuple[int, ...]]
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
    keep: Mapping[str, tuple[int, ...]]
    """Group -> sorted unit numbers that stay; a group that is not named stays whole."""
    budget: str = ""
    asked: float | None = None
    reached: float | None = None
    dense: float | None = None
    cost: str = ""


# --- shipped files -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AppForm:
    """How an app meets a file: what it passes in, what it gets back, and what the file says of both."""

    normalisation: Normalisation | None = None
    """None: not known."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the scores."""
    input: InputKind = "float"
    """"uint8": bytes as a camera gives them, which takes `bake`."""
    bake: bool = False
    """The normalisation and the camera's layout are part of the file: it takes pixels from 0 to 255."""
    softmax: bool = False
    """The file gives probabilities instead of scores."""
    input_names: tuple[str, ...] = ()
    """Empty: `input`, or `input_0`, `input_1`, ..."""
    output_names: tuple[str, ...] = ()
    name: str = "model"
    """Of the file, without its suffix."""


@dataclass(frozen=True)
class Artifact:
    """An exported file, or the folder that some formats are. Sizes without the batch axis.

    `layout` is that of the image input.
    """

    path: str
    format: str
    size_bytes: int
    sha256: str
    input_shape: tuple[int, ...]
    layout: Layout
    dynamic_batch: bool
    precision: Precision
    exporter: str
    """Converter and version."""
    seconds: float
    """That converting took."""
    input: InputKind = "float"
    baked: bool = False
    """Whether it takes pixels from 0 to 255 instead of normalised numbers."""
    softmax: bool = False


@dataclass(frozen=True)
class Parity:
    """An exported file against the network it came from, on the same inputs."""

    passed: bool
    max_error: float
    """max |file - network| / max |network|, the worst of all inputs."""
    tolerance: float
    agreement: float
    """Share of images with the same top-1; a tie within the tolerance counts as the same and is in `ties`."""
    ties: int
    images: int
    detail: str = ""


@dataclass(frozen=True)
class Shipment:
    """What became of one target format. "exported": written, but nothing here could run it."""

    format: str
    status: Literal["verified", "exported", "failed"]
    artifact: Artifact | None = None
    """The file; a file that computes something else (`failed` with a `parity`) is kept for whoever looks into it."""
    parity: Parity | None = None
    reason: str = ""
    """Why it is not "verified"."""


@dataclass(frozen=True)
class Target:
    """Where and how a file runs; figures of different devices, threads or precisions are never compared."""

    device: str
    runtime: str
    runtime_version: str
    threads: int
    precision: Precision


@dataclass(frozen=True)
class Conditions:
    """The machine around a measurement; None: this machine does not tell."""

    load: float | None
    frequency_mhz: float | None
    governor: str | None
    temperature_c: float | None
    affinity: tuple[int, ...]


@dataclass(frozen=True)
class Bracket:
    """A block of a candidate's samples between two blocks of a fixed reference, milliseconds of single inferences.

    Disturbances only ever add time, so that the fastest of a block of some 70 ms is the reading closest to the
    undisturbed machine; what lasts longer than a block (clock frequency, a neighbour) hits both sides of the ratio.
    """

    before_ms: tuple[float, ...]
    candidate_ms: tuple[float, ...]
    after_ms: tuple[float, ...]

    @property
    def reference_ms(self) -> float:
        """The reference when the candidate ran: half way between its fastest before and its fastest after."""
        return (min(self.before_ms) + min(self.after_ms)) / 2

    @property
    def ratio(self) -> float:
        """The candidate's fastest against the reference."""
        return min(self.candidate_ms) / self.reference_ms

    @property
    def drift(self) -> float:
        """By how much the reference moved meanwhile; 0: not at all."""
        fastest = min(self.before_ms), min(self.after_ms)
        return max(fastest) / min(fastest) - 1


@dataclass(frozen=True)
class Comparison:
    """A candidate's time against its reference's, from one session on the same cores."""

    ratio: float
    """Median over brackets."""
    interval: Interval
    """Bootstrap over brackets, 95 %."""
    reference_ms: float
    """Median over brackets."""
    brackets: tuple[Bracket, ...]
    repeated: int
    """Brackets that were thrown away because the reference moved."""


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one file on one target; the first file of its session is the reference of all others."""

    artifact: str
    target: Target
    session: str
    """Names the process run that took it: figures are compared within one session only."""
    blocks_ms: tuple[tuple[float, ...], ...]
    """Milliseconds of single inferences, a tuple per block; of the session's reference those that close a bracket."""
    median_ms: float
    interval_ms: Interval
    p90_ms: float
    load_ms: float
    peak_memory_bytes: int
    """Largest resident set of the worker process, runtime included."""
    runtime_memory_bytes: int
    """The same just before it opened the file: what the runtime takes by itself."""
    before: Conditions
    after: Conditions
    ratio: float | None = None
    """Median over rounds of (this file / the session's first file with the same target), each as the ratio of its
    bracket, of which the session's reference has 1 by definition; None: there is none to compare with."""
    ratio_interval: Interval | None = None
    format_base: str | None = None
    """The session's first file of the same network with the same threads, where it is of another format."""
    format_ratio: float | None = None
    """As `ratio`, against `format_base`; None: there is none."""
    format_ratio_interval: Interval | None = None
    brackets: tuple[Bracket, ...] = ()
    """This file's blocks between those of the session's reference, one per round; empty for the reference itself."""
    repeated: int = 0
    """Brackets that were thrown away because the reference moved."""

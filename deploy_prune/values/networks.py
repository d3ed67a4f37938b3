"""Networks, the data they are trained and judged on, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Network:
    """A network and what is needed to call it."""

    address: str
    """The address that rebuilds the dense architecture, such as `torchvision:mobilenet_v2`."""
    module: nn.Module
    """The network itself: it takes a tensor (batch, *shape) for each of `input_shapes`."""
    input_shapes: tuple[tuple[int, ...], ...]
    """The shape of each input without the batch axis, channels first: `((3, 224, 224),)`."""
    classes: int | None = None
    """How many classes its scores (images, classes) are of, which are its output or the first of several; None: it
    gives no such scores, or nobody has said."""
    options: Mapping[str, object] = field(default_factory=dict)
    """The options that the architecture was built with, such as `{"width": 0.5}`."""
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
    """Some images, labelled or not; `read` gives any of them, so that memory is the implementation's choice."""

    @property
    def labels(self) -> np.ndarray | None:
        """The number of each image's class, int64 (images,); None: the images have no labels."""

    def __len__(self) -> int:
        """How many images there are."""

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 images, shape (len(indices), height, width, channels)."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits that never change; the images of all three have labels, or none has.

    Every decision looks at `train` and `val` alone; `test` is looked at once, for the report.
    """

    name: str
    """What records and messages call the data set."""
    classes: tuple[str, ...]
    """The name of each class, in the order of the labels; empty where the images have no labels."""
    mean: tuple[float, ...]
    """The mean of each channel, of pixels from 0 to 1: a network's input is (image / 255 - mean) / std."""
    std: tuple[float, ...]
    """The standard deviation of each channel, of pixels from 0 to 1."""
    image_shape: tuple[int, int, int]
    """The channels, height and width of every image, in pixels."""
    train: ImageSet
    """The images that networks are trained on."""
    val: ImageSet
    """The images that decisions are made by."""
    test: ImageSet
    """The images that the report's figures are of."""
    flip: bool
    """Whether a mirrored image keeps its label (no for digits)."""
    crop_padding: int
    """Pixels of padding for a random crop while training; 0: no crop."""


@dataclass(frozen=True)
class BrokenImage:
    """An image of a split that is not used."""

    name: str
    """Its path below the root of the data set."""
    why: str
    """What is wrong with it, such as "cannot be decoded"."""
    number: int | None = None
    """Its place in the split, where another image stands in for it; None: the split has no place for it."""


@dataclass(frozen=True)
class SplitRecord:
    """What identifies one split of a data set, and which of its images are not used."""

    images: int
    """How many images the split has."""
    sha256: str
    """The digest of all labels in order, and (not for test) of the pixels of images spread over the split."""
    labels_sha256: str = ""
    """The digest of all labels in order; empty in records of before."""
    pixels_sha256: dict[int, str] = field(default_factory=dict)
    """Place in the split -> the digest of that image's pixels, of the same images; none for test."""
    broken: tuple[BrokenImage, ...] = ()
    """The images that could not be read when they were met, by the time of this record."""


BY_DATA = "auto"
"""The name of the task that the data decide: classification where they have labels, none where they have not."""

TOP_1 = "top-1"
"""The name of the share of images whose largest output is that of their class."""


@dataclass(frozen=True)
class Quality:
    """How good a network is on some images, as one number: the higher, the better."""

    name: str
    """What the value is: "top-1", or the name of the user's metric."""
    value: float
    """The mean over all images, a share from 0 to 1 where every image is a hit or a miss."""
    interval: Interval
    """The 95 % interval of the value."""
    items: int
    """How many images the network was judged on."""
    loss: float
    """The mean loss over these images."""
    per_item: tuple[float, ...] = field(default=(), repr=False)
    """A number per image, in order (1.0 for a hit, 0.0 for a miss), so that two networks can be compared in pairs;
    empty: the numbers were not kept."""
    output_error: float | None = None
    """How far its outputs are from the dense network's, where that is what it is held against: the squared error as a
    share of their variance, of class scores at the scale that fits best. None: labels judge, or a run of before."""

    @property
    def of_hits(self) -> bool:
        """Whether every image is a hit or a miss."""
        return bool(self.per_item) and set(self.per_item) <= {0.0, 1.0}


@dataclass(frozen=True)
class Normalisation:
    """What a network takes: (pixel / 255 - mean) / std per channel, of pixels from 0 to 255."""

    mean: tuple[float, ...]
    """The mean of each channel, of pixels from 0 to 1."""
    std: tuple[float, ...]
    """The standard deviation of each channel, of pixels from 0 to 1; above 0."""


@dataclass(frozen=True)
class Count:
    """Multiply-adds at batch 1 (fvcore's "flop" is one multiply-add), and parameters."""

    macs: int
    """Convolutions, linear layers and matrix products: what papers quote."""
    fvcore_total: int
    """The total with fvcore's rows for norms, pooling and resizing."""
    params: int
    """How many numbers the parameters hold."""
    not_counted: tuple[str, ...]
    """Operators that fvcore has no rule for."""
    einsum_macs: int = 0
    """Those of `macs` that are of `einsum`, whose cost fvcore reads from a figure of four digits."""

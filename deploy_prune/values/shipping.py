"""Exported files, how apps meet them, and whether they compute what the network does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy_prune.values.networks import Normalisation

Precision = Literal["fp32", "fp16"]

Layout = Literal["nchw", "nhwc"]

InputKind = Literal["float", "uint8"]


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
class TensorSpec:
    """One input of a file; a dimension of -1 takes any size."""

    name: str
    shape: tuple[int, ...]
    dtype: str


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

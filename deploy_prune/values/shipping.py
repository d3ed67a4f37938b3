"""Exported files, how apps meet them, and whether they compute what the network does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deploy_prune.values.networks import Normalisation
from deploy_prune.values.precisions import Precision

NETWORK_DIGEST = "network_digest"
"""What the metadata of our files call the digest of their network."""

Layout = Literal["nchw", "nhwc"]

WHITE = 255
"""The largest value of a pixel."""
COLORS = {1: "gray", 3: "RGB"}
"""Channels -> their order; other images have no common name for it."""

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
    """The name of the file, without its suffix."""


@dataclass(frozen=True)
class NetworkIdentity:
    """Which network a file was made of: files of equal `key` compute the same, whatever their format and name."""

    address: str
    """The architecture (`torchvision:mobilenet_v2`), or the file's own path where only a file is known."""
    digest: str = ""
    """The SHA-256 of its weights and of the shapes of its inputs; empty where nothing tells."""

    @property
    def key(self) -> str:
        """The text that files of one network share: the digest, or the address where there is none."""
        return self.digest or self.address


@dataclass(frozen=True)
class Artifact:
    """An exported file, or the folder that some formats are, and all that verifying and timing it takes to know."""

    path: str
    format: str
    """The exporter plugin of its format: "tflite", "onnx", "coreml", "executorch", "coreai"."""
    network: NetworkIdentity
    runtime: str
    """The runtime plugin that runs it."""
    precision: Precision
    """The precision in which weights and activations are stored."""
    layout: Layout | None
    """The layout of its image input; None where only a file is known."""
    input_shape: tuple[int, ...]
    """The shape of the network's first input, channels first, without the batch axis; empty where only a file is
    known."""
    dynamic_batch: bool
    """Whether it takes any batch size (otherwise 1)."""
    size_bytes: int
    sha256: str
    exporter: str
    """Converter and version; empty where only a file is known."""
    seconds: float
    """Seconds that converting took."""
    needs: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Runtime or system -> the oldest version that runs the file, in words; empty where the file does not tell."""
    input: InputKind = "float"
    baked: bool = False
    """Whether it takes pixels from 0 to 255 instead of normalised numbers."""
    softmax: bool = False
    """Whether it gives probabilities instead of scores."""


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
    agreement: float | None
    """The share of images with the same top-1; a tie within the tolerance counts as the same and is in `ties`. None:
    there are no answers to compare, such as outputs that are no class scores, or images without labels."""
    ties: int
    images: int
    detail: str = ""

    @property
    def answers(self) -> str:
        """How many answers are the same, such as "99.5% of 200 (1 ties)"; empty where none were compared."""
        if self.agreement is None:
            return ""
        if not self.images:
            return f"{self.agreement:.1%} of random inputs"
        return f"{self.agreement:.1%} of {self.images}" + (f" ({self.ties} ties)" if self.ties else "")


@dataclass(frozen=True)
class Shipment:
    """What became of one target format. "exported": written, but nothing here could run it."""

    format: str
    status: Literal["verified", "exported", "failed"]
    artifact: Artifact | None = None
    """The file; a file that computes something else (`failed` with a `parity`) is kept for whoever looks into it."""
    parity: Parity | None = None
    reason: str = ""
    """Why it is not "verified", or was not run on the device that it is timed on."""
    there: Parity | None = None
    """The same on the device that it is timed on, on a few of the inputs; None: that is this machine, or it did not run
    there."""

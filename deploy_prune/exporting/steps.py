"""An exporter is a tuple of named steps, each a function from one draft of a file to the next; what they share is here.

To add a format, write the steps that are its own, list them in order and hand the list to `write_in_steps`:

    STEPS: tuple[Step[TFLite], ...] = (fold_norms, put_channels_last, convert, name_tensors, describe, serialise)

A step gets a `Draft` and returns a new one (`dataclasses.replace`); it never changes the network it was given. Whatever
it raises reaches the user as `ExportFailed` with one short reason, and what its vendor prints reaches nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.fx import GraphModule

from deploy_prune.exporting.app_interface import put_in_form
from deploy_prune.exporting.converter import explain_vendor_errors
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter, check_precision
from deploy_prune.exporting.rewriting.rewrite import rewrite
from deploy_prune.graph.fold_norms import fold_exported_norms
from deploy_prune.values import FP32, AppForm, Layout, Network, Precision

E = TypeVar("E", bound=Exporter)


@dataclass(frozen=True, eq=False)
class Asked(Generic[E]):
    """What is to be written: the arguments of `Exporter.write`, and the exporter with its options."""

    exporter: E
    network: Network
    form: AppForm = PLAIN
    precision: Precision = FP32
    calibration: Calibration = None

    @property
    def layout(self) -> Layout:
        """The layout of the file's image input: the camera's where preprocessing is baked in."""
        return self.exporter.camera_layout if self.form.bake else self.exporter.layout


@dataclass(frozen=True, eq=False)
class Draft(Generic[E]):
    """A file on its way to disk: what was asked for, and what the steps so far have made of it."""

    asked: Asked[E]
    module: nn.Module
    """The network in the form that the app meets; eval mode, CPU, fp32."""
    inputs: tuple[Tensor, ...]
    """Random inputs to trace the module with: (batch, c, h, w) each, or pixels in the camera's layout."""
    model: Any = None
    """The vendor's own object, once a step has converted the module."""
    content: bytes | Mapping[str, bytes] = b""
    """What is written in the end: the bytes of the file; of a folder the bytes of every file by its path inside it."""


Step = Callable[[Draft[E]], Draft[E]]
"""Takes a draft one step further."""


def write_in_steps(steps: Sequence[Step[E]], asked: Asked[E], path: Path) -> None:
    """Take a network through the steps of a format, and write the file or the folder that the last one leaves.

    Raises:
        ConfigError: the format cannot be written in that precision.
        ExportFailed: NaN in the weights, or a step refuses the network.
        MissingDependency: the converter is not installed.
    """
    check_precision(asked.exporter, asked.precision)
    converter = asked.exporter.version()
    draft = begin(asked)
    with explain_vendor_errors(converter, asked.network):
        for step in steps:
            draft = step(draft)
    _save(draft.content, path)


def begin(asked: Asked[E]) -> Draft[E]:
    """The first draft: a clean copy of the network in the form asked for, and inputs to trace it with.

    Raises:
        ExportFailed: a parameter or buffer holds NaN or infinity, or the module cannot be copied.
    """
    exporter = asked.exporter
    # torch.export takes a batch of 1 for a constant, so that a free batch is traced with 2
    batch = 2 if exporter.dynamic_batch else 1
    module, inputs = put_in_form(asked.network, asked.form, camera_layout=exporter.camera_layout, batch=batch)
    return Draft(asked, module, inputs)


def fold_norms(draft: Draft[E]) -> Draft[E]:
    """Fold batch norms into the convolutions before them, so that converters have less to convert."""
    return replace(draft, module=fold_exported_norms(draft.module, draft.inputs))


def rewrite_operators(draft: Draft[E]) -> Draft[E]:
    """Put equal operators in place of those that the format's converter fails on; after `fold_norms`."""
    assert isinstance(draft.module, GraphModule)
    return replace(draft, module=rewrite(draft.module, draft.asked.exporter.suffix))


def _save(content: bytes | Mapping[str, bytes], path: Path) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    for name, part in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(part)

"""A network as one exported file that can be redrawn at any widths: no converter is asked again.

The converter writes the network twice or more, dense and at widths that tell its groups apart (`sizes`); every other
width is the dense file with other numbers, written in milliseconds.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deploy_prune import plugins
from deploy_prune.budget.latency.size_lines import SizeLines, probing_widths, solve_lines
from deploy_prune.budget.widths import dense_widths
from deploy_prune.causes import is_out_of_memory
from deploy_prune.errors import DeployPruneError, ExportFailed
from deploy_prune.exporting.exporters import EXPORTERS, Exporter
from deploy_prune.formats.templates import TEMPLATES, Operator, Template, TemplateFormat
from deploy_prune.graph.surgery import cut
from deploy_prune.processes.workshop import open_workshop, run_each
from deploy_prune.timing import conditions
from deploy_prune.values import FP32, ChannelGraph, Network, Precision, Progress, quiet

NEEDED = ("cloudpickle", "torch", "torch._dynamo", "torchvision", "deploy_prune.exporting.export")
"""What every converter process imports."""


@dataclass(frozen=True, eq=False)
class ResizableNetwork:
    """A network's file, and which of its numbers follow which widths."""

    format: str
    dense: bytes
    """The converted dense network; its weights are random."""
    template: Template
    lines: SizeLines

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The file's operators, in order."""
        return self.template.structure.operators

    def network(self, widths: np.ndarray) -> bytes:
        """The file at these widths (in units, in the order of the graph's free groups)."""
        return self.template.resized(self.lines.at(widths))

    def layer(self, operator: int, widths: np.ndarray) -> bytes:
        """A file of one of its operators alone, at these widths."""
        return self.template.single(self.lines.at(widths), operator)


def learn_sizes(
    network: Network,
    graph: ChannelGraph,
    folder: Path,
    format_name: str,
    *,
    precision: Precision = FP32,
    progress: Progress = quiet,
) -> ResizableNetwork:
    """Convert a network at its dense and at probing widths, and learn from the files how sizes follow widths.

    Args:
        network: it is not changed; its weights do not matter.
        graph: its channel graph.
        folder: where the converted files go.
        format_name: the name of a template format.
        precision: of the files.
        progress: told as files are done.

    Raises:
        ExportFailed: the converter fails, or writes another structure at other widths.
    """
    format_: TemplateFormat = plugins.build(TEMPLATES, format_name)
    dense = dense_widths(graph.free)
    plans = np.concatenate([dense[None], probing_widths(graph)])
    subjects = [cut(randomise_weights(network), graph, _first_units(graph, plan)) for plan in plans]
    contents = convert_all(subjects, folder, format_, precision=precision, progress=progress)
    templates = [format_.read(content, precision) for content in contents]
    first = templates[0].structure
    if any(each.structure.wiring != first.wiring for each in templates):
        message = f"the converter writes {network.address} with other operators at other widths"
        raise ExportFailed(message, hint="its milliseconds cannot be predicted; prune it by MACs")
    lines = solve_lines(graph, plans, np.stack([each.structure.numbers for each in templates]))
    return ResizableNetwork(format_name, contents[0], templates[0], lines)


def _first_units(graph: ChannelGraph, widths: Sequence[int] | np.ndarray) -> dict[str, tuple[int, ...]]:
    return {group.name: tuple(range(width)) for group, width in zip(graph.free, map(int, widths), strict=True)}


def randomise_weights(network: Network, *, seed: int = 0) -> Network:
    """The same network with random weights and norms, no two alike and none zero.

    Converters share equal constants and drop biases of zeros, as fresh networks have them: trained ones do not.
    """
    module = copy.deepcopy(network.module).cpu().float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                _enliven(name, tensor, generator)
    return dataclasses.replace(network, module=module)


def _enliven(name: str, tensor: torch.Tensor, generator: torch.Generator) -> None:
    if tensor.ndim >= 2:
        fan_in = max(tensor[0].numel(), 1)
        tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    elif name.endswith(("bias", "running_mean")):
        tensor.normal_(0, 0.1, generator=generator)
    else:
        tensor.uniform_(0.5, 1.5, generator=generator)


def convert_all(
    subjects: Sequence[Network],
    folder: Path,
    format_: TemplateFormat,
    *,
    precision: Precision = FP32,
    progress: Progress = quiet,
) -> list[bytes]:
    """Networks as files of a format, as many at once as there are cores; nothing is verified.

    Raises:
        ExportFailed: a network cannot be converted.
    """
    exporter = plugins.build(EXPORTERS, format_.exporter)
    exporter.version()
    jobs = [(subject, folder / f"at-{number}{format_.suffix}") for number, subject in enumerate(subjects)]
    with open_workshop(NEEDED) as shop:
        told = partial(_tell, progress, len(jobs))
        at_once = len(conditions.list_allowed_cores())
        outcomes = run_each(shop, _write, (exporter, precision), jobs, at_once=at_once, told=told)
    for outcome in outcomes:
        if outcome.died:
            raise ExportFailed(
                f"the converter died ({outcome.died})",
                hint="is memory short? If not, it is a fault of the converter; prune by MACs",
            )
        if outcome.result:
            raise ExportFailed(outcome.result)
    return [path.read_bytes() for _, path in jobs]


def _tell(progress: Progress, files: int, running: list[int], done: int) -> None:
    progress("conversion", done, files, f"{len(running)} at once")


def _write(how: tuple[Exporter, Precision], job: tuple[Network, Path]) -> str:
    """Write one file; the answer is empty, or says why it failed."""
    (exporter, precision), (network, path) = how, job
    try:
        exporter.write(network, path, precision=precision)
    except DeployPruneError as error:
        if is_out_of_memory(error):
            raise
        return str(error)
    return ""

"""fvcore's count of a network: the referee of our own MACs."""

from __future__ import annotations

import copy
import logging
import warnings

import torch
from torch import Tensor, nn

from deploy_prune.graph.returned import find_tensors
from deploy_prune.values import Count, Network

FUSED = "aten::scaled_dot_product_attention"
ROUNDING = 1e-3
"""What a figure of four digits may be off by."""
MACS_ROWS = ("conv", "linear", "addmm", "matmul", "bmm", "mm", "einsum")


class BareTensors(nn.Module):
    """A network that returns its tensors in a tuple, whatever they came in: torch's trace opens no objects."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The tensors that the network returned, each once."""
        return tuple(find_tensors(self.module(*inputs)))


def recount(network: Network) -> Count:
    """Count by running fvcore's own trace of a copy of the network on the CPU."""
    with warnings.catch_warnings():  # fvcore scripts a loss that nobody here uses
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        from fvcore.nn import FlopCountAnalysis

    module = copy.deepcopy(network.module).cpu().eval()
    inputs = tuple(torch.zeros((1, *shape)) for shape in network.input_shapes)
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(BareTensors(module).eval(), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    rows = analysis.by_operator()
    skipped = tuple(sorted(analysis.unsupported_ops()))
    return Count(
        macs=int(sum(rows[row] for row in MACS_ROWS)),
        fvcore_total=int(sum(rows.values())),
        params=sum(parameter.numel() for parameter in module.parameters()),
        not_counted=skipped,
        einsum_macs=int(rows["einsum"]),
    )


def explain_difference(traced_macs: int, count: Count) -> str:
    """How and why fvcore counts other MACs than our own trace does, which is exact; empty where it does not."""
    if traced_macs == count.macs:
        return ""
    difference = count.macs - traced_macs
    if difference < 0 and FUSED in count.not_counted:
        why = "it leaves out fused attention"
    elif abs(difference) <= count.einsum_macs * ROUNDING:
        why = "it rounds what einsum costs to four digits"
    else:
        why = f"it did not count {', '.join(count.not_counted) or 'something'}"
    return f"fvcore counts {abs(difference):,} {'more' if difference > 0 else 'less'}: {why}"

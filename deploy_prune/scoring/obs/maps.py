"""What the layers that read units need to make up for any of them at once: measured once, on the uncut network."""

from __future__ import annotations

import torch
from torch import Tensor

from deploy_prune.scoring.obs.elimination import Reading
from deploy_prune.scoring.obs.held_out import choose_ridge
from deploy_prune.scoring.obs.readings import MOST_INPUTS, Sampling, measure_inputs, walk_readers
from deploy_prune.train.refit.dense_map import DenseMap
from deploy_prune.train.refit.forms import as_blocks
from deploy_prune.values import ChannelGraph, Network, Progress, quiet


def measure_maps(
    network: Network,
    graph: ChannelGraph,
    images: Tensor,
    sampling: Sampling,
    *,
    ridge: float | None = None,
    progress: Progress = quiet,
) -> tuple[DenseMap, ...]:
    """Measure what dense layers read; grouped layers, and those of very many inputs, are left out.

    Args:
        network: the uncut network.
        graph: its channel graph.
        images: as the network takes them, (images, channels, height, width).
        sampling: how moments are taken.
        ridge: what is added to the inputs' variances, as a share of their mean; None: for each layer what makes up
            best for half of its inputs on held-out images.
        progress: told layer by layer.
    """
    maps = []
    for reader, rows, _ in walk_readers(network, graph, images, sampling, progress):
        blocks, inputs = rows[0].inputs.shape[1:]
        if blocks > 1 or inputs > MOST_INPUTS:
            continue
        mean, products, judged = measure_inputs(rows)
        scale = products.diagonal(dim1=1, dim2=2).mean()
        if not (torch.isfinite(products).all() and scale > 0):
            continue
        weight, each_input = as_blocks(reader.values.double(), reader.form), torch.arange(inputs)[:, None]
        known = Reading(products, None, weight, each_input, 1.0, judged)
        products[0].diagonal().add_((choose_ridge(known) if ridge is None else ridge) * scale)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(products[0]))
        maps.append(DenseMap(reader.weight, reader.form, reader.values, inverse, mean[0], reader.constant))
    return tuple(maps)

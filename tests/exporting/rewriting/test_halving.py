from __future__ import annotations

import torch
from torch import nn

from deploy_prune.exporting.rewriting.halving import halve


class Mixed(nn.Module):
    """Bytes and fractions in, a cast to fp32 by name inside, fractions and whole numbers out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("places", torch.arange(3))

    def forward(self, pixels: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.layer(pixels.to(torch.float32)) + offset
        return scores, scores.argmax(1) + self.places


def test_all_is_computed_in_halves_and_what_goes_in_and_out_keeps_its_type() -> None:
    torch.manual_seed(0)
    network = Mixed().eval().requires_grad_(False)
    inputs = torch.randint(0, 256, (1, 4), dtype=torch.uint8), torch.randn(1, 3)
    graph = torch.export.export(network, inputs).module(check_guards=False)
    halved = halve(graph)
    scores, places = halved(*inputs)
    assert (scores.dtype, places.dtype) == (torch.float32, torch.int64)
    assert {each.dtype for each in halved.parameters()} == {torch.float16}
    inner = [node for node in torch.export.export(halved, inputs).graph.nodes if "linear" in node.name]
    assert {node.meta["val"].dtype for node in inner} == {torch.float16}
    expected, same = network(*inputs)
    assert torch.equal(places, same)
    assert 0 < float((scores - expected).abs().max()) < 2e-3 * float(expected.abs().max())


def test_the_graph_that_was_given_stays_as_it_is() -> None:
    network = nn.Linear(2, 2).eval()
    graph = torch.export.export(network, (torch.zeros(1, 2),)).module(check_guards=False)
    code = graph.code
    halve(graph)
    assert {each.dtype for each in (*graph.parameters(), *network.parameters())} == {torch.float32}
    assert graph.code == code

"""Networks of users that view what they read as if it lay as usual are judged, measured and trained like any other."""

from __future__ import annotations

import pytest
import torch
from studies import stripes
from torch import Tensor, nn

from deploy_prune.graph import trace
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.fitness import Exam, judge_candidate, prepare_examiner
from deploy_prune.train.layout import choose_layout, count_judged_at_once
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Network

IMAGE = torch.zeros(2, 3, 8, 8)


class Viewing(nn.Module):
    """A head over all positions, as textbooks write it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        read = self.norm(self.second(self.first(x).relu())).relu()
        logits: Tensor = self.head(read.view(read.size(0), -1))
        return logits


def test_channels_last_is_for_modules_that_take_images_so() -> None:
    assert choose_layout(nn.Conv2d(3, 4, 3), IMAGE) == torch.channels_last
    assert choose_layout(Viewing().eval(), IMAGE) == torch.contiguous_format
    assert choose_layout(nn.Linear(8, 4), IMAGE[0]) == torch.contiguous_format, "no images"


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_a_network_that_views_what_it_reads_is_trained_judged_and_searched(precision: str) -> None:
    data = stripes()
    network = fit(
        Network("viewing", Viewing(), (data.image_shape,), 4), data,
        Recipe(epochs=2, batch_size=32, lr=0.05, precision=precision),  # type: ignore[arg-type]
    )  # fmt: skip
    graph = trace(network)
    prepared = prepare_examiner(network, graph, data, Exam(images=10_000, norm_images=0))
    whole = {group.name: tuple(range(group.width)) for group in graph.free}
    assert judge_candidate(prepared, whole).loss == pytest.approx(evaluate(network, data.val, data).loss, rel=1e-4)
    measured = prepare_examiner(network, graph, data, Exam(images=40, norm_images=40))
    assert judge_candidate(measured, {name: units[:4] for name, units in whole.items()}).loss > 0


def test_a_cpu_judges_few_large_images_at_once_and_an_accelerator_many() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [count_judged_at_once((3, side, side), cpu) for side in (1, 32, 224, 4000)] == [256, 64, 9, 1]
    assert count_judged_at_once((3, 224, 224), cuda) == 256

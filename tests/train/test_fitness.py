"""A candidate's fitness is that of the really cut network, whatever was prepared for all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from studies import stack, stripes, trained
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import ConfigError, DataError
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.few_steps import tune
from deploy_prune.train.fitness import BATCH_SIZE, Exam, judge_candidate, prepare_examiner
from deploy_prune.train.recalibration import draw_norm_batches, measure_norms
from deploy_prune.train.recipe import Batch
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images, refitted
from deploy_prune.values import Network

DATA = stripes()
ALL = Exam(images=10_000, norm_images=150)


@pytest.fixture(scope="module")
def network() -> Network:
    return trained(stack(), DATA)


def keep(network: Network) -> dict[str, tuple[int, ...]]:
    return {group.name: tuple(range(0, group.width, 2)) for group in trace(network).free}


def test_it_is_what_the_slow_way_gives(network: Network) -> None:
    """Cut, norms measured anew on the same images, the whole validation split."""
    graph = trace(network)
    cut_down = cut(network, graph, keep(network))
    norms = (batch.images for batch in draw_norm_batches(DATA, images=150, seed=3, about=BATCH_SIZE))
    small = dataclasses.replace(cut_down, module=measure_norms(cut_down.module, norms))
    expected = evaluate(small, DATA.val, DATA)
    found = judge_candidate(prepare_examiner(network, graph, DATA, ALL, seed=3), keep(network))
    assert found.value == expected.value
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


def test_a_candidate_is_refitted_as_a_run_refits_networks(network: Network) -> None:
    """Fewer images are looked at, and one ridge is tried."""
    graph, kept = trace(network), keep(network)
    small = CutNetwork(cut(network, graph, kept), network, graph, kept_indices(graph, kept))
    settings = RefitSettings(images=40, ridges=(0.1,), seed=3)
    again, _ = refitted(small, draw_refit_images(DATA, settings), settings=settings)
    exam = dataclasses.replace(ALL, norm_images=0, refit_images=40)
    found = judge_candidate(prepare_examiner(network, graph, DATA, exam, seed=3), kept)
    assert found.loss == pytest.approx(evaluate(again, DATA.val, DATA).loss, rel=1e-5)


def test_nan_has_no_quality(network: Network) -> None:
    """The largest of NaN scores is the first, and some images are of that class."""
    prepared = prepare_examiner(network, trace(network), DATA, Exam(images=40))
    lost = dataclasses.replace(prepared, loss=lambda logits, labels: logits.sum() * float("nan"))
    assert (judge_candidate(lost, {}).loss, judge_candidate(lost, {}).value) == (math.inf, 0.0)
    theirs = dataclasses.replace(prepared, metric=lambda logits, labels: labels / 0)
    with pytest.raises(ConfigError, match="your metric gives NaN or infinity for a candidate"):
        judge_candidate(theirs, {})


def test_part_of_validation_has_its_share_of_every_class(network: Network) -> None:
    prepared = prepare_examiner(network, trace(network), DATA, Exam(images=40), seed=0)
    labels = torch.cat([batch.target for batch in prepared.judged_on])
    assert len(labels) == pytest.approx(40, abs=2)
    assert all(abs(int((labels == each).sum()) - 10) <= 1 for each in range(4))


def test_steps_train_the_candidate_and_nothing_else(network: Network) -> None:
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    state = torch.get_rng_state()
    graph = trace(network)
    losses = [
        judge_candidate(
            prepare_examiner(network, graph, DATA, Exam(images=192, norm_images=64, steps=steps)), keep(network)
        ).loss
        for steps in (0, 5, 40)
    ]
    assert losses[0] > losses[1] > losses[2]
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_training_images_in_memory_are_bounded_by_their_size(network: Network) -> None:
    """A worker keeps them as floats; images of 224 x 224 would take gigabytes."""
    room = 40 * 4 * math.prod(DATA.image_shape) + 1
    exam = Exam(images=20, norm_images=0, steps=50, batch_size=16, pool_bytes=room)
    prepared = prepare_examiner(network, trace(network), DATA, exam)
    assert sum(len(batch.target) for batch in prepared.tuned_on) in range(24, 41)  # a last batch may be dropped


def rank(numbers: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(numbers))


def test_without_labels_the_loss_orders_candidates_as_labels_would_and_better_than_agreement(network: Network) -> None:
    """What candidates return is held against what the dense network returns; agreement is too coarse to order them."""
    bare = dataclasses.replace(
        DATA, classes=(), **{name: ArrayImages(vars(DATA)[name].pixels) for name in ("train", "val", "test")}
    )
    graph, drawn = trace(network), np.random.default_rng(0)
    plans = [
        {
            group.name: tuple(
                map(int, sorted(drawn.permutation(group.width)[: int(group.width * drawn.uniform(0.3, 0.9))]))
            )
            for group in graph.free
        }
        for _ in range(12)
    ]
    labelled, unlabelled = (prepare_examiner(network, graph, data, ALL) for data in (DATA, bare))
    judged = [(judge_candidate(labelled, plan), judge_candidate(unlabelled, plan)) for plan in plans]
    true, losses = rank([with_labels.loss for with_labels, _ in judged]), rank([without.loss for _, without in judged])
    agreements = rank([-without.value for _, without in judged])
    by_loss, by_agreement = (np.corrcoef(true, each)[0, 1] for each in (losses, agreements))
    assert by_loss > 0.9
    assert by_loss > by_agreement


def test_the_same_candidate_has_the_same_fitness(network: Network) -> None:
    prepared = prepare_examiner(network, trace(network), DATA, Exam(images=60, steps=3))
    one, other = judge_candidate(prepared, keep(network)), judge_candidate(prepared, keep(network))
    assert (one.loss, one.value) == (other.loss, other.value)


def test_the_users_loss_and_step_take_the_place_of_ours(network: Network) -> None:
    """A step that goes against the loss trains backwards; a loss that is twice ours is twice as large."""
    prepared = prepare_examiner(network, trace(network), DATA, Exam(images=60, steps=5))
    ours, theirs = (
        judge_candidate(each, keep(network)).loss for each in (prepared, dataclasses.replace(prepared, step=wrong))
    )
    assert theirs > ours
    doubled = dataclasses.replace(prepared, steps=0, loss=twice)
    assert judge_candidate(doubled, keep(network)).loss == pytest.approx(
        2 * judge_candidate(dataclasses.replace(prepared, steps=0), keep(network)).loss
    )


def wrong(module: nn.Module, batch: Batch, loss: Callable[..., Tensor]) -> Tensor:
    return -loss(module(batch.images), batch.target)


def twice(logits: Tensor, labels: Tensor) -> Tensor:
    return 2 * functional.cross_entropy(logits, labels)


def test_removed_kernels_stay_removed_while_a_candidate_is_trained(network: Network) -> None:
    """The network has masks."""
    name, weight = next((name, weight) for name, weight in network.module.named_parameters() if weight.dim() == 4)
    mask = torch.ones_like(weight)
    mask[:, 0] = 0
    masked = dataclasses.replace(network, masks={name: mask})
    small = cut(masked, trace(masked), keep(masked))
    batches = prepare_examiner(masked, trace(masked), DATA, Exam(images=60, steps=3)).tuned_on
    found = tune(small, batches, steps=3, lr=0.05).module.get_parameter(name)
    assert torch.equal(found == 0, small.masks[name].expand_as(found) == 0)


def test_a_loss_that_is_no_number_is_infinite(network: Network) -> None:
    broken = trained(network, DATA, epochs=1)
    with torch.no_grad():
        broken.module[5].bias[0] = math.nan
    assert judge_candidate(prepare_examiner(broken, trace(broken), DATA, ALL), {}).loss == math.inf


def test_data_of_another_kind_are_refused(network: Network) -> None:
    with pytest.raises(DataError):
        prepare_examiner(network, trace(network), stripes(side=12), ALL)

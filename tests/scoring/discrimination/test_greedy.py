"""The greedy selection on a layer worked out by hand: each image shows one channel, so that channels do not meet.

With L_M alone and a weight of 0, the gradient at channel k is s_k^2 x w_k / Q, for the value s_k that channel k has.
"""

from __future__ import annotations

import math

import pytest
import torch
from building import conv, net
from torch import Tensor

from deploy_prune.errors import Diverged
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.discrimination.cached_batches import LayerBatch
from deploy_prune.scoring.discrimination.candidates import Channels, Kernels, Units
from deploy_prune.scoring.discrimination.greedy import Growth, ReadingLayer, grow, losses_of
from deploy_prune.scoring.discrimination.stopping import StartRelative

SHOWN = torch.tensor([1.0, 2.0, 1.0, 0.5])
"""s: the value of the one channel that each of four images shows."""
WEIGHT = torch.tensor([[4.0, 1.5, 1.0, 9.0], [0, 1.5, 0, 0], [0, 1.5, 0, 0], [0, 1.5, 0, 0], [0, 1.5, 0, 0]])
"""(5 filters, 4 channels)."""
NUMBERS = 20
"""Q: four images, five filters, one place."""
ALONE = {"balance": 0.0, "weight_decay": 0.0}


def flat() -> Flat:
    network = net(lambda m, x: m.b(x).mean((2, 3)), (4, 1, 1), b=conv(4, 5, 1, bias=False))
    return flatten(network, ["b.weight"], batch=4)


def layer(units: Units | None = None, *, start: Tensor | None = None) -> tuple[ReadingLayer, LayerBatch, Flat]:
    found, weight = flat(), WEIGHT[..., None, None]
    path = found.path("b.weight", (found.outputs[0],))
    assert path is not None
    images = torch.diag(SHOWN)[..., None, None]
    piece = LayerBatch((images,), (torch.nn.functional.conv2d(images, weight),), torch.tensor([0, 1, 2, 3]))
    units = units or columns()
    return ReadingLayer(path, units, None, weight, weight if start is None else start), piece, found


def columns(*, score: str = "paper", numbers: list[list[int]] | None = None) -> Channels:
    return Channels(1, torch.tensor(numbers or [[0], [1], [2], [3]]), (5, 4, 1, 1), score)


def select(
    count: int, units: Units | None = None, *, start: Tensor | None = None, **rest: object
) -> tuple[list[int], Tensor]:
    reader, piece, found = layer(units, start=start)
    growth = Growth(count, 1, **{**ALONE, **rest})  # type: ignore[arg-type]
    selected = grow("b", [reader], lambda: iter([(piece,)]), found.tensors, growth)
    return torch.nonzero(selected.chosen).flatten().tolist(), selected.weights[0][..., 0, 0]


def test_the_reconstruction_loss_is_half_the_mean_square() -> None:
    """The weight is 0: sum of s_k^2 x |w_k|^2 / 2Q = (16 + 4 x 11.25 + 1 + 81 / 4) / 40."""
    reader, piece, found = layer()
    distance, _ = losses_of(reader, piece, torch.zeros(5, 4, 1, 1), found.tensors)
    assert float(distance) == pytest.approx((16 + 45 + 1 + 20.25) / (2 * NUMBERS))


def test_the_discrimination_loss_is_the_cross_entropy_of_what_the_path_ends_in() -> None:
    reader, piece, found = layer()
    _, entropy = losses_of(reader, piece, torch.zeros(5, 4, 1, 1), found.tensors)
    assert float(entropy) == pytest.approx(math.log(5))


@pytest.mark.heavy
def test_channels_enter_in_the_order_of_s_squared_times_their_size() -> None:
    """s^2 |w|: 4, 4 x 3.354 = 13.4, 1 and 9 / 4 = 2.25."""
    assert [select(count)[0] for count in (1, 2, 3, 4)] == [[1], [0, 1], [0, 1, 3], [0, 1, 2, 3]]


def test_the_codes_score_sums_the_sizes_of_kernels() -> None:
    """Channel 0 (one kernel of 4) and channel 1 with s = 1 instead of 2 (five of 1.5): 4 > 3.35, but 4 < 7.5."""
    gradient = torch.zeros(5, 4, 1, 1)
    gradient[:, :2, 0, 0] = WEIGHT[:, :2]
    paper, code = columns().pull(gradient), columns(score="code").pull(gradient)
    assert paper[:2].sqrt().tolist() == pytest.approx([4, 1.5 * 5**0.5])
    assert code[:2].tolist() == pytest.approx([4, 7.5])


def test_what_entered_has_its_dense_values_and_everything_else_is_zero() -> None:
    """Channels do not meet here, so that the pass over the selection set finds nothing to change."""
    chosen, weight = select(2)
    assert torch.equal(weight[:, chosen], WEIGHT[:, chosen])
    assert weight[:, [2, 3]].abs().max() == 0


def test_decay_and_training_leave_exact_zeros() -> None:
    chosen, weight = select(2, balance=1.0, weight_decay=0.1, lr=0.5)
    rest = [each for each in range(4) if each not in chosen]
    assert torch.equal(weight[:, rest], torch.zeros(5, 2))
    assert not torch.equal(weight[:, chosen], WEIGHT[:, chosen])


def test_columns_of_other_groups_stay_exactly_as_they_are() -> None:
    """Only channels 0 and 1 are candidates: what reads 2 and 3 was selected before, or stays."""
    before = torch.full((5, 4, 1, 1), 0.7)
    chosen, weight = select(1, columns(numbers=[[0], [1]]), start=before, balance=1.0, weight_decay=0.1, lr=0.5)
    assert chosen == [1]
    assert torch.equal(weight[:, 2:], before[:, 2:, 0, 0])
    assert torch.equal(weight[:, 0], torch.zeros(5))


def test_a_unit_of_several_channels_enters_as_one() -> None:
    chosen, weight = select(1, columns(numbers=[[0, 2], [1, 3]]))
    assert chosen == [1]
    assert weight[:, [0, 2]].abs().max() == 0
    assert torch.equal(weight[:, [1, 3]], WEIGHT[:, [1, 3]])


def test_several_enter_at_once_and_never_more_than_asked_for() -> None:
    reader, piece, found = layer()
    growth = Growth(3, 2, **ALONE)  # type: ignore[arg-type]
    selected = grow("b", [reader], lambda: iter([(piece,)]), found.tensors, growth)
    assert int(selected.chosen.sum()) == 3
    assert len(selected.reconstruction) == 2
    assert selected.reconstruction[1] == pytest.approx((1 + 20.25) / (2 * NUMBERS))


def test_the_gradients_of_coupled_layers_add_up() -> None:
    """The second layer's gradient is there for channel 2 alone, and larger than all of the first's: it decides."""
    one, piece, found = layer()
    other_weight = torch.zeros(5, 4, 1, 1)
    other_weight[0, 2] = 20.0
    images = piece.given[0]
    two = ReadingLayer(one.path, columns(), None, other_weight, other_weight)
    target = LayerBatch((images,), (torch.nn.functional.conv2d(images, other_weight),), piece.labels)
    growth = Growth(1, 1, **ALONE)  # type: ignore[arg-type]
    selected = grow("b", [one, two], lambda: iter([(piece, target)]), found.tensors, growth)
    assert torch.nonzero(selected.chosen).flatten().tolist() == [2]
    assert [weight[0, 2].item() for weight in selected.weights] == [1.0, 20.0]


def test_kernels_are_judged_one_by_one() -> None:
    """The 20 kernels' losses: 9 / 4 at (0, 3), 4 at (0, 0), then five of 4 x 1.5 = 6 each in channel 1."""
    chosen, weight = select(7, Kernels((5, 4, 1, 1)))
    assert chosen == [0, 1, 3, 5, 9, 13, 17]
    assert torch.equal(weight, torch.where(weight != 0, WEIGHT, 0.0))
    assert int((weight != 0).sum()) == 7


def test_blocks_of_filters_keep_the_same_inputs() -> None:
    """1x2 over five filters: three blocks, the last of a single filter."""
    units = Kernels((5, 4, 1, 1), filters=2)
    assert units.candidates == 12
    gradient = torch.arange(20.0).reshape(5, 4, 1, 1)
    assert units.pull(gradient)[:2].tolist() == [0 + 4**2, 1 + 5**2]
    assert units.pull(gradient)[8:].tolist() == [16**2, 17**2, 18**2, 19**2]
    chosen = torch.zeros(12, dtype=torch.bool)
    chosen[[1, 8]] = True
    mask = units.mask(chosen)[..., 0, 0]
    assert mask.nonzero().tolist() == [[0, 1], [1, 1], [4, 0]]


def test_a_selection_that_stops_keeps_its_floor() -> None:
    """Every change is small against 100: it would stop after the third step."""
    stop = StartRelative(100.0, patience=1)
    assert len(select(4, stop=stop)[0]) == 2
    assert len(select(4, stop=stop, floor=3)[0]) == 3


def test_a_loss_that_is_no_number_names_the_group() -> None:
    reader, piece, found = layer()
    broken = LayerBatch(piece.given, (torch.full_like(piece.targets[0], math.nan),), piece.labels)
    with pytest.raises(Diverged, match="the loss became nan while 'layer3' was selected"):
        grow("layer3", [reader], lambda: iter([(broken,)]), found.tensors, Growth(2, 1))

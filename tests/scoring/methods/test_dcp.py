"""DCP: exactly the widths, exact zeros where nothing is read, the same after a kill, and better than size alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import NETS
from studies import FAST, block, noise, stack, stripes, study, trained
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, Diverged, RecordError
from deploy_prune.graph import trace
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.discrimination import layerwise, selection
from deploy_prune.scoring.discrimination.candidates import readers_of
from deploy_prune.scoring.methods.dcp import STATE
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.weights import replace_weights
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Network, Scores, Selection

SMALL = ["plain", "residual", "dense_block", "depthwise", "squeeze_excite", "concat", "transposed", "flatten_mlp",
         "grouped_same_place", "grouped_whole", "shuffle", "tied_convs", "shared", "batch_norm", "permuted_flatten",
         "channels_last_linear", "functional_conv", "in_place", "chunk", "depthwise_multiplier"]  # fmt: skip
HEADLESS = {**FAST["dcp"], "heads": 0}
SETTINGS: dict[str, Any] = {"heads": 1, "images": 128, "batch_size": 32, "head_images": 128, "head_epochs": 2}


@pytest.fixture(scope="module")
def knows_stripes() -> Network:
    return trained(stack(), stripes())


def select(of: Study, widths: dict[str, int], **options: Any) -> Selection:
    found: Selection = plugins.build("methods", "dcp", {**SETTINGS, **options}).select(of, widths)
    return found


def halves(of: Study) -> dict[str, int]:
    return {group.name: max(1, group.width // 2) for group in of.graph.free}


def read_outside(of: Study, network: Network, found: Selection) -> float:
    """The largest weight with which a removed unit is read."""
    largest = 0.0
    tensors = dict(network.module.named_parameters())
    for group in of.graph.free:
        gone = np.setdiff1d(np.arange(group.width), found.keep[group.name])
        for member in readers_of(of.graph, group):
            columns = tensors[member.parameter].detach().movedim(member.axis, 0)[member.indices[gone].ravel()]
            largest = max(largest, float(columns.abs().max()) if columns.numel() else 0.0)
    return largest


@pytest.mark.heavy
@pytest.mark.parametrize("name", SMALL)
def test_the_network_with_the_new_weights_is_the_one_that_is_cut(name: str) -> None:
    """Exactly the widths, nothing reads a removed unit, and so cutting changes nothing."""
    network = NETS[name]()
    of = study(network)
    widths = halves(of)
    plugin: Any = plugins.build("methods", "dcp", HEADLESS)
    found = plugin.select(of, widths)
    assert {group: len(units) for group, units in found.keep.items()} == widths
    assert found.weights
    masked = replace_weights(network, found.weights)
    assert read_outside(of, masked, found) == 0.0
    x = torch.randn(3, *network.input_shape)
    with torch.no_grad():
        expected = masked.module(x)
        assert torch.allclose(
            cut(masked, of.graph, found.keep).module(x), expected, atol=1e-5 * float(expected.abs().max())
        )


def test_with_heads_it_holds_as_well(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, halves(of))
    assert found.weights
    masked = replace_weights(knows_stripes, found.weights)
    assert read_outside(of, masked, found) == 0.0
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(cut(masked, of.graph, found.keep).module(x), masked.module(x), atol=1e-5)


def test_only_what_reads_a_group_is_changed(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, {"0.0": 6, "1.0": 16, "2.0": 20})
    assert found.keep["1.0"] == tuple(range(16))
    assert found.weights
    state = knows_stripes.module.state_dict()
    changed = [name for name, value in found.weights.items() if not torch.equal(value, state[name])]
    assert changed == ["1.0.weight"]


def test_at_full_widths_nothing_is_done(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, {group.name: group.width for group in of.graph.free})
    assert found.weights is None
    assert all(len(found.keep[group.name]) == group.width for group in of.graph.free)


def test_it_keeps_more_than_the_largest_filters_do(knows_stripes: Network) -> None:
    """Nothing is trained afterwards, and a quarter of every group stays."""
    of, data = study(knows_stripes, stripes()), stripes()
    widths = {group.name: group.width // 4 for group in of.graph.free}
    found = select(of, widths, images=192)
    assert found.weights
    ours = cut(replace_weights(knows_stripes, found.weights), of.graph, found.keep)
    largest = best_units(Scores(filter_norms(knows_stripes.module, of.graph, power=2)), widths)
    theirs = cut(knows_stripes, of.graph, largest)
    assert evaluate(ours, data.val, data).loss < evaluate(theirs, data.val, data).loss - 0.2


def test_channels_that_say_nothing_are_not_kept(knows_stripes: Network) -> None:
    """Half of the first layer's channels are constants: nothing pulls at what reads them."""
    network = replace_weights(knows_stripes, {})
    with torch.no_grad():
        network.module[0][1].weight[::2] = 0.0
        network.module[0][1].bias[::2] = 0.0
    of = study(network, stripes())
    found = select(of, {"0.0": 6, "1.0": 16, "2.0": 20})
    assert found.keep["0.0"] == (1, 3, 5, 7, 9, 11)


@pytest.mark.heavy
def test_both_losses_take_part(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    keeps = [select(of, halves(of), balance=balance).keep for balance in (0.0, 1.0, 5.0)]
    assert len({str(keep) for keep in keeps}) > 1


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.heavy
def test_a_killed_selection_goes_on_to_the_same_result(
    knows_stripes: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    of = study(knows_stripes, stripes())
    undisturbed = select(of, halves(of))
    real, begun = layerwise.grow, []

    def killed(name: str, *arguments: Any) -> Any:
        begun.append(name)
        if len(begun) > after:
            raise KeyboardInterrupt
        return real(name, *arguments)

    folder = dataclasses.replace(of, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(layerwise, "grow", killed)
        with pytest.raises(KeyboardInterrupt):
            select(folder, halves(of))
    again: list[str] = []
    monkeypatch.setattr(layerwise, "grow", lambda name, *rest: again.append(name) or real(name, *rest))
    found = select(folder, halves(of))
    assert again == ["0.0", "1.0", "2.0"][after:]
    assert found.keep == undisturbed.keep
    assert found.weights
    assert undisturbed.weights
    assert all(torch.equal(value, undisturbed.weights[name]) for name, value in found.weights.items())


def test_another_selections_notebook_is_refused(knows_stripes: Network, tmp_path: Path) -> None:
    of = study(knows_stripes, stripes(), folder=tmp_path)
    select(of, halves(of))
    with pytest.raises(RecordError, match="is of another selection"):
        select(of, {**halves(of), "0.0": 5})


@pytest.mark.heavy
def test_a_loss_that_breaks_in_the_middle_leaves_finished_groups(
    knows_stripes: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference's second layer gives NaN: the first group is selected before it, and stays on disk."""
    real = layerwise.grow

    def breaking(name: str, readers: Any, rows: Any, *rest: Any) -> Any:
        if name != "1.0":
            return real(name, readers, rows, *rest)

        def broken() -> Any:
            for row in rows():
                yield tuple(dataclasses.replace(each, targets=(each.targets[0] * float("nan"),)) for each in row)

        return real(name, readers, broken, *rest)

    of = study(knows_stripes, stripes(), folder=tmp_path)
    monkeypatch.setattr(layerwise, "grow", breaking)
    with pytest.raises(Diverged, match=r"the loss became nan while '1\.0' was selected; what was selected before it"):
        select(of, halves(of))
    monkeypatch.setattr(layerwise, "grow", real)
    begun: list[str] = []
    monkeypatch.setattr(layerwise, "grow", lambda name, *rest: begun.append(name) or real(name, *rest))
    select(of, halves(of))
    assert begun == ["1.0", "2.0"]
    assert (tmp_path / STATE).exists()


def test_progress_says_how_far_it_is(knows_stripes: Network) -> None:
    told: list[tuple[str, int, int, str]] = []
    of = study(knows_stripes, stripes(), progress=lambda *each: told.append(each))
    select(of, halves(of))
    layers = [each for each in told if each[0] == "selecting"]
    assert [each[1:3] for each in layers] == [(1, 3), (2, 3), (3, 3)]
    assert layers[0][3].startswith("0.0, about ")
    assert layers[0][3].endswith(" s left")


@pytest.mark.heavy
def test_with_epsilon_widths_are_upper_bounds(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    widths = {group.name: group.width - 2 for group in of.graph.free}
    loose, tight = (select(of, widths, epsilon=epsilon, steps=20) for epsilon in (10.0, 0.0))
    # Every change is small: four steps (the first is not judged, three must be small in a row).
    assert {name: len(units) for name, units in loose.keep.items()} == dict.fromkeys(widths, 4)
    assert {name: len(units) for name, units in tight.keep.items()} == widths


def test_epsilon_has_floors(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    full = {group.name: group.width for group in of.graph.free}
    found = select(of, full, epsilon=10.0, steps=20, floor=0.5)
    assert {name: len(units) for name, units in found.keep.items()} == {"0.0": 6, "1.0": 8, "2.0": 10}


class Residual(nn.Module):
    """A stream with one block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.down = block(3, 8), block(8, 12), block(12, 8)
        self.up2, self.down2 = block(8, 12), block(12, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.down(self.up(x))
        x = x + self.down2(self.up2(x))
        return self.head(x.mean((2, 3)))


def residual() -> Network:
    torch.manual_seed(0)
    return Network("tests:residual", Residual().eval(), ((3, 8, 8),), 4)


@pytest.mark.heavy
def test_epsilon_leaves_streams_alone_in_inner_scope() -> None:
    of = study(residual(), stripes(), scope="inner")
    full = {group.name: group.width for group in of.graph.free}
    found = select(of, full, epsilon=10.0)
    stream = next(group.name for group in of.graph.free if group.residual)
    assert len(found.keep[stream]) == 8
    assert all(len(units) < full[name] for name, units in found.keep.items() if name != stream)


def test_a_residual_stream_is_selected_by_all_that_read_it() -> None:
    of = study(residual(), stripes())
    found = select(of, halves(of))
    assert found.weights
    masked = replace_weights(of.network, found.weights)
    assert read_outside(of, masked, found) == 0.0
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(cut(masked, of.graph, found.keep).module(x), masked.module(x), atol=1e-5)


@pytest.mark.heavy
def test_trained_together_network_and_heads_are_the_reference(knows_stripes: Network, tmp_path: Path) -> None:
    """Norms and filters move as well, which selection alone leaves as they are; done again, it is the same."""
    of = study(knows_stripes, stripes(), folder=tmp_path)
    found = select(of, halves(of), finetune_epochs=1)
    assert found.weights
    assert not torch.equal(found.weights["0.1.running_mean"], knows_stripes.module[0][1].running_mean)
    assert read_outside(of, replace_weights(knows_stripes, found.weights), found) == 0.0
    again = select(of, halves(of), finetune_epochs=1)
    assert again.weights
    assert all(torch.equal(value, again.weights[name]) for name, value in found.weights.items())


def test_a_group_that_nobody_reads_keeps_its_largest_filters(
    knows_stripes: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "readers_of", lambda graph, group: ())
    of = study(knows_stripes, stripes())
    largest = best_units(Scores(filter_norms(knows_stripes.module, of.graph, power=2)), halves(of))
    assert select(of, halves(of)).keep == largest


@pytest.mark.parametrize("wrong", [
    {"heads": -1}, {"norm": "l1"}, {"epsilon": -0.1}, {"batch_size": 1}, {"steps": 0}, {"images": 0}, {"lr": 0.0},
    {"patience": 0}, {"balance": -1.0}, {"heads": 0, "finetune_epochs": 1},
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        plugins.build("methods", "dcp", wrong)


@pytest.mark.heavy
def test_bad_input_is_refused_before_any_work(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    with pytest.raises(ConfigError, match="2 heads cannot be placed between 2 blocks"):
        select(of, halves(of), heads=2)
    with pytest.raises(ConfigError, match="fewer than a batch of 32"):
        select(of, halves(of), images=20)
    one_block = study(NETS["plain"]())
    with pytest.raises(ConfigError, match="the network has 1 block"):
        select(one_block, halves(one_block))
    with pytest.raises(ConfigError, match="needs images"):
        select(dataclasses.replace(of, data=None), halves(of))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1", "torchvision:mobilenet_v2", "resnet20", "torchvision:densenet121"])
@pytest.mark.parametrize("scope", ["inner", "full"])
def test_real_architectures_are_selected_and_cut(name: str, scope: str) -> None:
    network = build_network(name, classes=4, input_shape=(3, 32, 32))
    network = recalibrate_norms(network, noise(network), images=32)  # untrained ones let activations grow
    graph = trace(network)
    of = Study(network, graph, noise(network), 0, scope=scope)
    widths = {group.name: group.width // 2 for group in graph.free if not (scope == "inner" and group.residual)}
    found = select(of, widths, images=32, batch_size=16, head_images=32, head_epochs=1, steps=2, heads=2)
    assert all(len(found.keep[group]) == width for group, width in widths.items())
    assert found.weights
    masked = replace_weights(network, found.weights)
    assert read_outside(of, masked, found) == 0.0
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = masked.module(x)
        assert torch.allclose(
            cut(masked, graph, found.keep).module(x), expected, atol=1e-5 * float(expected.abs().max())
        )

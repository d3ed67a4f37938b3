"""A refit restores what removed inputs gave, where those that stay can give it; it never keeps what is worse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from building import conv, net
from generated import networks
from hypothesis import given, settings
from torch import Tensor, nn

from deploy_prune.errors import RecordError
from deploy_prune.graph import trace
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, refitted, split_images
from deploy_prune.values import ChannelGraph, Keep, LayerRefit, Network

EXACT = RefitSettings(ridges=(1e-10, 0.1))
"""A ridge so small that what can be restored is."""


def images_for(network: Network, count: int = 40) -> Tensor:
    return torch.randn(count, *network.input_shape, generator=torch.Generator().manual_seed(9))


def double_units(layer: nn.Conv2d) -> None:
    """Let each odd output be -2 times the even one before it, plus a constant where there is a bias."""
    with torch.no_grad():
        layer.weight[1::2] = -2 * layer.weight[::2]
        if layer.bias is not None:
            layer.bias[1::2] = 0.7 - 2 * layer.bias[::2]


def even_of(graph: ChannelGraph, name: str) -> Keep:
    group = next(group for group in graph.groups if group.name == name)
    assert group.locked is None
    return {name: tuple(range(0, group.width, 2))}


def cut_of(network: Network, name: str = "a") -> CutNetwork:
    graph = trace(network)
    keep = even_of(graph, name)
    return CutNetwork(cut(network, graph, keep), network, graph, kept_indices(graph, keep))


def difference(one: Network, two: Network) -> float:
    images = images_for(one, 8)
    with torch.no_grad():
        return float((one.module(images) - two.module(images)).abs().max())


def settled(network: Network) -> Network:
    """Batch norms with statistics of their own, in eval mode."""
    with torch.no_grad():
        network.module.train()(images_for(network))
    network.module.eval()
    return network


def pooled(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 5))


FORMS: dict[str, Callable[[], Network]] = {
    "1x1": lambda: net(lambda m, x: m.h(m.b(m.a(x)).relu()), a=conv(3, 8), b=conv(8, 6, 1), h=pooled(6)),
    "k x k, strided": lambda: net(
        lambda m, x: m.h(m.b(m.a(x)).relu()), a=conv(3, 8, bias=False), b=nn.Conv2d(8, 6, 3, 2, bias=False),
        h=pooled(6),
    ),
    "k x k, dilated, with a norm": lambda: net(
        lambda m, x: m.h(m.n(m.b(m.a(x))).relu()), a=conv(3, 8), b=nn.Conv2d(8, 6, 3, dilation=2, bias=False),
        n=nn.BatchNorm2d(6), h=pooled(6),
    ),
    "k x k, padded, without a constant": lambda: net(
        lambda m, x: m.h(m.b(m.a(x)).relu()), a=conv(3, 8, bias=False), b=conv(8, 6, bias=False), h=pooled(6)
    ),
    "same": lambda: net(
        lambda m, x: m.h(m.b(m.a(x)).relu()), a=conv(3, 8, bias=False),
        b=nn.Conv2d(8, 6, 3, padding="same", dilation=2), h=pooled(6),
    ),
    "depthwise, then 1x1": lambda: net(
        lambda m, x: m.h(m.b(m.d(m.a(x))).relu()), a=conv(3, 8, bias=False),
        d=tied_pairs(conv(8, 8, groups=8, bias=False)), b=conv(8, 6, 1), h=pooled(6),
    ),
    "grouped": lambda: net(
        lambda m, x: m.h(m.b(m.a(x)).relu()), a=conv(3, 8), b=conv(8, 6, 1, groups=2), h=pooled(6)
    ),
    "linear behind a flatten": lambda: net(
        lambda m, x: m.h(torch.nn.functional.avg_pool2d(m.a(x), 4).flatten(1)), a=conv(3, 8), h=nn.Linear(32, 5)
    ),
    "linear on maps": lambda: net(
        lambda m, x: m.l(m.a(x).permute(0, 2, 3, 1)).relu().mean((1, 2)), a=conv(3, 8), l=nn.Linear(8, 5)
    ),
    "transposed": lambda: net(
        lambda m, x: m.h(m.t(m.a(x)).relu()), a=conv(3, 8, bias=False), t=nn.ConvTranspose2d(8, 6, 3, 2, 1),
        h=pooled(6),
    ),
    "shared": lambda: net(
        lambda m, x: m.h(m.b(y := m.a(x)).relu() + m.b(y.flip(2)).relu()), a=conv(3, 8), b=conv(8, 6, 1), h=pooled(6)
    ),
    "concat": lambda: net(
        lambda m, x: m.h(m.b(torch.cat([m.c(x), m.a(x)], 1)).relu()), a=conv(3, 8), c=conv(3, 2), b=conv(10, 6, 1),
        h=pooled(6),
    ),
    "residual": lambda: net(
        lambda m, x: m.h((y := m.s(x)) + m.n(m.b(m.a(y)))), s=conv(3, 6), a=conv(6, 8), b=conv(8, 6, 1, bias=False),
        n=nn.BatchNorm2d(6), h=pooled(6),
    ),
    "several readers": lambda: net(
        lambda m, x: m.h(m.b(y := m.a(x)).relu() + m.c(y.flip(3))), a=conv(3, 8), b=conv(8, 6, 1), c=conv(8, 6, 1),
        h=pooled(6),
    ),
    "1d": lambda: net(
        lambda m, x: m.l(m.b(m.a(x)).relu().mean(-1)), (3, 12), a=nn.Conv1d(3, 8, 3), b=nn.Conv1d(8, 6, 3, 2),
        l=nn.Linear(6, 5),
    ),
}  # fmt: skip
"""Form -> a network whose group `a` is read by it, and whose odd units follow from the even ones."""


def tied_pairs(layer: nn.Conv2d) -> nn.Conv2d:
    """A depthwise layer that does the same to both units of a pair."""
    with torch.no_grad():
        layer.weight[1::2] = layer.weight[::2]
    return layer


@pytest.mark.heavy
@pytest.mark.parametrize("form", FORMS)
def test_what_follows_from_the_units_that_stay_is_restored(form: str) -> None:
    network = settled(FORMS[form]())
    double_units(network.module.a)  # type: ignore[arg-type]
    scene = cut_of(network)
    small, told = refitted(scene, images_for(network), settings=EXACT)
    assert difference(scene.small, network) > 1e-2
    assert difference(small, network) < 1e-5
    assert any(layer.kept for layer in told)


@given(networks())
@settings(max_examples=8)
@pytest.mark.heavy
def test_nothing_is_kept_that_is_worse_on_held_out_images(network: Network) -> None:
    graph = settle(network)
    keep = {group.name: tuple(range(0, group.width, 2)) for group in graph.free}
    scene = CutNetwork(cut(network, graph, keep), network, graph, kept_indices(graph, keep))
    chosen = RefitSettings(targets="chosen", positions=9)
    small, told = refitted(scene, images_for(network), settings=chosen)
    for layer in told:
        if layer.kept:
            assert layer.error_before is not None
            assert layer.error_after is not None
            assert layer.error_after < layer.error_before
            assert layer.ridge in chosen.ridges
        assert layer.kept or layer.skipped or (layer.error_after or 0) >= (layer.error_before or 0)
    assert small is not scene.small or not told
    assert torch.isfinite(small.module(images_for(network, 2))).all()


@pytest.mark.heavy
def test_an_uncut_network_stays_as_it_is() -> None:
    network = FORMS["1x1"]()
    same, told = refitted(CutNetwork(network, network, trace(network), {}), images_for(network))
    assert same is network
    assert told == ()


@pytest.mark.heavy
def test_layers_that_give_what_they_should_are_left_alone() -> None:
    """A unit that is 0 throughout is missed by nobody."""
    network = FORMS["1x1"]()
    with torch.no_grad():
        network.module.a.weight[1::2] = 0  # type: ignore[union-attr,index]
        network.module.a.bias[1::2] = 0  # type: ignore[union-attr,index]
    scene = cut_of(network)
    small, told = refitted(scene, images_for(network))
    assert difference(small, scene.small) == 0.0
    assert {layer.skipped for layer in told} == {"it gives what it should already"}


def masked(network: Network) -> CutNetwork:
    scene = cut_of(network)
    weight = scene.small.module.b.weight  # type: ignore[union-attr]
    assert isinstance(weight, Tensor)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.4
    small = dataclasses.replace(scene.small, masks={"b.weight": mask})
    with torch.no_grad():
        weight.mul_(mask)
    return dataclasses.replace(scene, small=small)


def test_masked_weights_stay_0() -> None:
    scene = masked(FORMS["k x k, padded, without a constant"]())
    small, told = refitted(scene, images_for(scene.small), settings=EXACT)
    assert any(layer.kept and layer.name == "b" for layer in told)
    weight = small.module.get_parameter("b.weight")
    assert torch.equal(weight != 0, scene.small.masks["b.weight"])


class Killed(Exception):
    """Somebody ends the process."""


@pytest.mark.heavy
def test_a_killed_refit_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    network = settled(FORMS["residual"]())
    scene, images = cut_of(network), images_for(network)
    whole, told = refitted(scene, images)

    def kill(task: str, done: int, total: int, note: str = "") -> None:
        del task, total, note
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        refitted(scene, images, folder=tmp_path, progress=kill)
    again, repeated = refitted(scene, images, folder=tmp_path)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), name
    assert [dataclasses.replace(layer, seconds=0) for layer in told] == [
        dataclasses.replace(layer, seconds=0) for layer in repeated
    ]


@pytest.mark.heavy
def test_layers_of_another_refit_are_refused(tmp_path: Path) -> None:
    network = FORMS["1x1"]()
    scene, images = cut_of(network), images_for(network)
    refitted(scene, images, folder=tmp_path)
    with pytest.raises(RecordError, match="another refit"):
        refitted(scene, images, folder=tmp_path, settings=RefitSettings(seed=1))
    (tmp_path / "000.safetensors").write_bytes(b"")
    (tmp_path / "001.safetensors").write_bytes(b"")
    with pytest.raises(RecordError, match="damaged"):
        refitted(scene, images, folder=tmp_path)


def told_of(told: tuple[LayerRefit, ...], name: str) -> LayerRefit:
    return next(layer for layer in told if layer.name == name)


def test_activations_that_are_not_finite_are_a_named_skip() -> None:
    network = FORMS["1x1"]()
    images = images_for(network)
    images[3] = torch.nan
    small, told = refitted(scene := cut_of(network), images)
    assert "not finite" in told_of(told, "b").skipped
    assert torch.equal(small.module.get_parameter("b.weight"), scene.small.module.get_parameter("b.weight"))


def test_constant_inputs_are_a_named_skip() -> None:
    network = FORMS["1x1"]()
    _, told = refitted(cut_of(network), torch.zeros(10, 3, 8, 8))
    assert all(layer.skipped or layer.kept for layer in told)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_a_named_skip(count: int) -> None:
    network = FORMS["1x1"]()
    small, told = refitted(scene := cut_of(network), images_for(network)[:count])
    assert small is scene.small
    assert {layer.skipped for layer in told} == {f"{count} images are too few: some fit, others judge"}


def refuse_export(m: Any, x: Tensor) -> Tensor:
    """A forward pass that torch.export cannot follow, though the channel graph can."""
    if torch.compiler.is_exporting():
        raise RuntimeError("a word of the user's")
    return m.h(m.n(m.b(m.a(x))).relu())


def test_what_cannot_be_exported_is_refitted_with_hooks() -> None:
    layers = {"a": conv(3, 8), "b": nn.Conv2d(8, 6, 3, bias=False), "n": nn.BatchNorm2d(6), "h": pooled(6)}
    network = settled(net(refuse_export, **layers))
    double_units(network.module.a)  # type: ignore[arg-type]
    scene = cut_of(network)
    small, told = refitted(scene, images_for(network), settings=EXACT)
    assert told_of(told, "b").kept
    assert difference(scene.small, network) > 1e-2
    assert difference(small, network) < 1e-5


@pytest.mark.heavy
def test_a_stream_is_made_up_for_what_it_has_lost() -> None:
    """The stem of the stream loses units that nothing can replace; the branch that is added to it makes up for them."""
    network = settled(net(
        lambda m, x: m.h(m.p(m.s(x).relu()) + m.n(m.b(x))), s=conv(3, 8), p=conv(8, 6, 1), b=conv(3, 6, bias=False),
        n=nn.BatchNorm2d(6), h=pooled(6),
    ))  # fmt: skip
    scene = cut_of(network, "s")
    images = images_for(network, 200)
    plain, corrected = (
        refitted(scene, images, settings=RefitSettings(targets=targets))  # type: ignore[arg-type]
        for targets in ("reference", "chosen")
    )
    assert told_of(corrected[1], "b").corrected
    assert told_of(plain[1], "b").skipped == "it gives what it should already"
    assert error_of(corrected[0], network) < error_of(plain[0], network)


def error_of(small: Network, network: Network) -> float:
    images = torch.randn(200, *network.input_shape, generator=torch.Generator().manual_seed(77))
    with torch.no_grad():
        return float((small.module(images) - network.module(images)).square().mean())


def test_norms_measured_on_the_way_hold_what_they_read_in_the_end() -> None:
    network = settled(FORMS["residual"]())
    scene, images = cut_of(network), images_for(network)
    small, _ = refitted(scene, images, settings=RefitSettings(norms="measured"))
    _, split = split_images(images, RefitSettings())
    assert split
    fitted = images[: len(split.fitted) * len(images) // (len(split.fitted) + len(split.held_out))]
    again = measure_norms(small.module, [fitted]).state_dict()
    for name in ("n.running_mean", "n.running_var"):
        assert torch.allclose(small.module.state_dict()[name], again[name], rtol=1e-4, atol=1e-5), name
        assert not torch.allclose(scene.small.module.state_dict()[name], again[name], rtol=1e-2, atol=1e-3)

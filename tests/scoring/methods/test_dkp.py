"""DKP (reconstructed): rates and masks, the same network masked as cut, masks that outlive training and export."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from building import conv, head, net
from listening import interrupt_after
from studies import stack, stripes, study, trained

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.methods import dkp
from deploy_prune.scoring.methods.dkp import Dkp
from deploy_prune.scoring.study import Study
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.weights import replace_weights
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Network, Selection

SETTINGS: dict[str, Any] = {
    "heads": 1, "images": 128, "batch_size": 32, "head_images": 128, "head_epochs": 2, "steps": 8
}  # fmt: skip


@pytest.fixture(scope="module")
def knows_stripes() -> Network:
    return trained(stack(), stripes())


def full(of: Study) -> dict[str, int]:
    return {group.name: group.width for group in of.graph.free}


def select(of: Study, widths: dict[str, int], **options: Any) -> Selection:
    found: Selection = plugins.build("methods", "dkp", {**SETTINGS, **options}).select(of, widths)
    return found


def masked(network: Network, found: Selection) -> Network:
    assert found.weights
    return dataclasses.replace(replace_weights(network, found.weights), masks=dict(found.masks))


def kernels_of(mask: torch.Tensor) -> torch.Tensor:
    """bool (filters, channels): whether a kernel is there, of which all or nothing stays."""
    flat = mask.flatten(2)
    assert torch.equal(flat.any(2), flat.all(2))
    return flat.any(2)


@pytest.fixture
def without_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels without kernels stay, so that kernels can be counted."""
    monkeypatch.setattr(dkp, "promote_empty_units", lambda graph, keep, masks: (keep, masks))


@pytest.mark.heavy
def test_a_layer_keeps_its_rate_of_kernels(knows_stripes: Network, without_promotion: None) -> None:
    """The rate is that of the second layer's 16 x 12 and the third's 20 x 16; the first reads the image."""
    of = study(knows_stripes, stripes())
    found = select(of, full(of), rate=0.7)
    assert sorted(found.masks) == ["1.0.weight", "2.0.weight"]
    assert found.keep == {name: tuple(range(width)) for name, width in full(of).items()}
    assert int(kernels_of(found.masks["1.0.weight"]).sum()) == math.ceil(0.7 * 16 * 12)
    assert int(kernels_of(found.masks["2.0.weight"]).sum()) == math.ceil(0.7 * 20 * 16)
    assert found.method == "dkp (reconstructed)"


def test_removed_kernels_are_exact_zeros(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, full(of))
    assert found.weights
    for name, mask in found.masks.items():
        assert found.weights[name][~mask].abs().max() == 0
        assert (found.weights[name][mask] != 0).any()


@pytest.mark.heavy
@pytest.mark.parametrize(("rate", "share"), [(0.5, 1.0), (0.1, 0.5), (0.05, 1.0)])
def test_the_masked_network_is_the_one_that_is_cut(knows_stripes: Network, rate: float, share: float) -> None:
    """Channels went first, others for want of kernels."""
    of = study(knows_stripes, stripes())
    widths = {name: max(2, int(share * width)) for name, width in full(of).items()}
    found = select(of, widths, rate=rate)
    assert all(len(found.keep[name]) <= width for name, width in widths.items())
    dense = masked(knows_stripes, found)
    small = cut(dense, of.graph, found.keep)
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(small.module(x), dense.module(x), atol=1e-5)
    for name, mask in small.masks.items():
        weight = small.module.get_parameter(name)
        assert mask.shape == weight.shape
        assert weight[~mask].abs().max() == 0 if (~mask).any() else True


def test_channels_without_kernels_go(knows_stripes: Network) -> None:
    """One kernel in twenty is kept, 10 of the second layer's 192: most of its filters and inputs have none."""
    of = study(knows_stripes, stripes())
    found = select(of, full(of), rate=0.05)
    assert len(found.keep["0.0"]) < 12
    assert len(found.keep["1.0"]) < 16
    small = cut(masked(knows_stripes, found), of.graph, found.keep)
    kernels = kernels_of(small.masks["1.0.weight"])
    assert bool(kernels.any(0).all())
    assert bool(kernels.any(1).all())


@pytest.mark.heavy
def test_blocks_of_filters_keep_the_same_inputs(knows_stripes: Network, without_promotion: None) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, full(of), filters=4)
    for mask in found.masks.values():
        blocks = kernels_of(mask).reshape(-1, 4, mask.shape[1])
        assert torch.equal(blocks.any(1), blocks.all(1))


def test_kernels_keep_more_than_the_largest_do(knows_stripes: Network) -> None:
    of, data = study(knows_stripes, stripes()), stripes()
    found = select(of, full(of), rate=0.5, images=192)
    sizes = {}
    for name, mask in found.masks.items():
        weight = knows_stripes.module.get_parameter(name).detach()
        norms = weight.flatten(2).norm(dim=2)
        limit = norms.flatten().sort(descending=True).values[int(kernels_of(mask).sum()) - 1]
        sizes[name] = weight * (norms >= limit)[..., None, None]
    ours = evaluate(masked(knows_stripes, found), data.val, data).loss
    theirs = evaluate(replace_weights(knows_stripes, sizes), data.val, data).loss
    assert ours < theirs


@pytest.mark.heavy
@pytest.mark.parametrize("stop", ["relative", "dcp"])
def test_it_stops_by_itself_where_nothing_is_won(knows_stripes: Network, stop: str) -> None:
    of = study(knows_stripes, stripes())
    loose, tight = (select(of, full(of), epsilon=epsilon, stop=stop, rate=0.9) for epsilon in (10.0, 0.0))
    kept = [sum(int(kernels_of(mask).sum()) for mask in each.masks.values()) for each in (loose, tight)]
    assert kept[0] < kept[1]


@pytest.mark.heavy
def test_a_killed_selection_goes_on_to_the_same_result(knows_stripes: Network, tmp_path: Path) -> None:
    """Killed before the last layer's kernels are selected, after all channels and one layer's kernels."""
    of = study(knows_stripes, stripes())
    widths = {name: width // 2 for name, width in full(of).items()}
    undisturbed = select(of, widths)
    folder = dataclasses.replace(of, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        select(dataclasses.replace(folder, progress=interrupt_after("selecting", 4)), widths)
    found = select(folder, widths)
    assert found.keep == undisturbed.keep
    assert found.weights
    assert undisturbed.weights
    assert all(torch.equal(value, undisturbed.weights[name]) for name, value in found.weights.items())
    assert all(torch.equal(value, undisturbed.masks[name]) for name, value in found.masks.items())


def test_a_mobilenets_pointwise_layers_lose_single_weights() -> None:
    """What reads the image and what is depthwise stay whole."""
    network = net(
        lambda m, x: m.head(m.p(m.d(m.a(x)).relu())),
        a=conv(3, 6),
        d=conv(6, 6, groups=6),
        p=conv(6, 8, 1),
        head=head(8),
    )
    of = study(network)
    found = select(of, full(of), heads=0, images=32)
    assert list(found.masks) == ["p.weight"]
    assert int(found.masks["p.weight"].sum()) == 24


@pytest.mark.heavy
def test_masks_hold_while_the_network_is_trained(knows_stripes: Network) -> None:
    of = study(knows_stripes, stripes())
    found = select(of, full(of))
    small = cut(masked(knows_stripes, found), of.graph, found.keep)
    tuned = fit(small, stripes(), Recipe(epochs=2, batch_size=32, lr=0.05, precision="fp32"))
    assert sorted(tuned.masks) == ["1.0.weight", "2.0.weight"]
    for name, mask in tuned.masks.items():
        weight = tuned.module.get_parameter(name)
        assert weight[~mask].abs().max() == 0
        assert not torch.equal(weight, small.module.get_parameter(name))


@pytest.mark.parametrize("wrong", [
    {"rate": 0.0}, {"rate": 1.5}, {"stop": "never"}, {"filters": 0}, {"steps": 0}, {"heads": -1}, {"epsilon": -1.0},
    {"batch_size": 1}, {"lr": 0.0},
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Dkp(**wrong)


def small_resnet(folder: Path) -> tuple[Network, str]:
    """A network from disk with two thirds of the kernels of every other filter of one layer left."""
    network = build_network("resnet20", classes=4, input_shape=(3, 16, 16))
    weight = "layer3.1.conv2.weight"
    mask = torch.zeros(64, 64, 3, 3, dtype=torch.bool)
    mask[::2, 1::3] = mask[::2, 2::3] = True
    with torch.no_grad():
        network.module.get_parameter(weight).mul_(mask)
    checkpoint.save(dataclasses.replace(network, masks={weight: mask}), folder)
    return checkpoint.load(folder), weight


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_exported_files_hold_the_zeros(tmp_path: Path, name: str) -> None:
    """Counted in the file's own bytes: folding norms and moving axes leave a zero what it is."""
    network, weight = small_resnet(tmp_path / "run")
    path = tmp_path / f"net.{name}"
    plugins.build("exporters", name).write(network, path)
    mask = network.masks[weight]
    assert max(zeros(path, mask.numel())) == int((~mask).sum())


def zeros(path: Path, numbers: int) -> list[int]:
    """Exact zeros in every constant of so many float32 numbers."""
    if path.suffix == ".onnx":
        import onnx
        from onnx import numpy_helper

        arrays = [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
    else:
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
        held = [np.asarray(each.data, np.uint8).tobytes() for each in model.buffers if each.data is not None]
        arrays = [np.frombuffer(each, np.float32) for each in held if len(each) == 4 * numbers]
    return [int((each == 0).sum()) for each in arrays if each.size == numbers]

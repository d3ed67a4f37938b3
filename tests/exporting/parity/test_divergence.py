from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx import Interpreter

from deploy_prune import plugins
from deploy_prune.exporting.converter import clean_copy
from deploy_prune.exporting.parity.divergence import INPUT, OWN_FORWARD, find_first_divergence
from deploy_prune.values import Network
from examples import examples

TOLERANCE = 1e-4
SHAPE, CLASSES = (3, 16, 24), 5
IMAGE = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))

FUSED = {
    "stem": ("stem", "conv2d", INPUT),
    "norm": ("stem", "conv2d", INPUT),
    "block.deep": ("block.deep", "conv2d", "act (relu)"),
    "block.deep_norm": ("block.deep", "conv2d", "act (relu)"),
    "block.point": ("block.point", "conv2d", "block.act (hardtanh)"),
    "block.point_norm": ("block.point", "conv2d", "block.act (hardtanh)"),
    "wide": ("wide", "conv2d", "block (add)"),
    "head": ("head", "linear", "drop (dropout)"),
}
"""Layer with weights -> what is to be named when one of them differs: the convolution that converters fuse it with."""


class Block(nn.Module):
    """Depthwise and pointwise convolution, with a residual connection; ReLU6 writes over what its norm gave."""

    def __init__(self, width):
        super().__init__()
        self.deep = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.deep_norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU6(inplace=True)
        self.point = nn.Conv2d(width, width, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.point_norm(self.point(self.act(self.deep_norm(self.deep(x)))))


def _network():
    torch.manual_seed(0)
    module = nn.Sequential()
    layers = {
        "stem": nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False),
        "norm": nn.BatchNorm2d(13),
        "act": nn.ReLU(),
        "block": Block(13),
        "wide": nn.Conv2d(13, 21, 3, padding=1),
        "wide_act": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "drop": nn.Dropout(0.2),
        "head": nn.Linear(21, CLASSES),
    }
    for name, layer in layers.items():
        module.add_module(name, layer)
    with torch.no_grad():
        module.train()(torch.randn(8, *SHAPE))
    return Network("tests:blocks", module, (SHAPE,), CLASSES)


@pytest.fixture(scope="module")
def network():
    return _network()


@pytest.fixture(scope="module", params=["tflite", "onnx", "coreml"])
def layers(request, network, tmp_path_factory):
    """The intermediate results of a real file, from its runtime."""
    exporter = plugins.build("exporters", request.param)
    path = tmp_path_factory.mktemp(request.param) / f"net{exporter.suffix}"
    exporter.write(network, path)
    image = IMAGE.numpy()
    array = np.ascontiguousarray(np.moveaxis(image, 1, -1)) if exporter.layout == "nhwc" else image
    return plugins.build("runtimes", exporter.runtime).open(path, threads=1).layers(array)


def _changed(module, parameter, *, at=0, by=1.0):
    """A copy with one number of one parameter changed."""
    clone = copy.deepcopy(module)
    with torch.no_grad():
        flat = clone.get_parameter(parameter).view(-1)
        flat[at % len(flat)] += by
    return clone


def _found(module, layers, tolerance=TOLERANCE, image=IMAGE):
    return find_first_divergence(module, (image,), layers, tolerance)


@pytest.mark.heavy
def test_a_file_of_the_network_has_no_layer_that_differs(network, layers):
    found = _found(clean_copy(network), layers)
    assert not found.found and (found.layer, found.operator) == ("", "")
    assert "every layer agrees" in str(found) and "optimisations" in str(found)


@pytest.mark.heavy
@pytest.mark.parametrize("layer", FUSED)
def test_the_layer_whose_weight_differs_is_named(network, layers, layer):
    found = _found(_changed(clean_copy(network), f"{layer}.weight"), layers)
    assert (found.layer, found.operator, found.after) == FUSED[layer]
    assert layer == found.layer or f"{layer} (batch_norm)" in found.note


@pytest.mark.heavy
@examples(12, derandomize=True)
@given(
    layer=st.sampled_from(sorted(FUSED)),
    kind=st.sampled_from(["weight", "bias"]),
    at=st.integers(0, 10_000),
    by=st.sampled_from([-3.0, -0.5, 0.5, 3.0]),
)
def test_whichever_weight_differs_its_layer_is_named_or_the_output_is_the_same(network, layers, layer, kind, at, by):
    module = clean_copy(network)
    parameter = f"{layer}.{kind}" if f"{layer}.{kind}" in dict(module.named_parameters()) else f"{layer}.weight"
    changed = _changed(module, parameter, at=at, by=by)
    with torch.no_grad():
        ours, theirs = changed(IMAGE), module(IMAGE)
    found = _found(changed, layers)
    if found.found:
        assert found.layer == FUSED[layer][0]
    else:
        assert float((ours - theirs).abs().max() / ours.abs().max()) < 2 * TOLERANCE


@pytest.mark.heavy
def test_all_layers_of_a_half_precision_file_agree_within_its_tolerance(network, tmp_path):
    plugins.build("exporters", "coreml").write(network, tmp_path / "half.mlpackage", precision="fp16")
    layers = plugins.build("runtimes", "coreml").open(tmp_path / "half.mlpackage", threads=1).layers(IMAGE.numpy())
    module = clean_copy(network)
    assert not _found(module, layers, 2e-2).found
    assert _found(module, layers, 1e-6).layer == "stem", "its roundings are seen with a tolerance below them"
    assert _found(_changed(module, "wide.weight", by=3.0), layers, 2e-2).layer == "wide"


def test_executorch_is_said_to_show_nothing(tiny_network, tiny_pte):
    layers = plugins.build("runtimes", "executorch").open(tiny_pte, threads=1).layers(IMAGE.numpy())
    found = _found(_changed(clean_copy(tiny_network), "0.weight"), layers)
    assert not found.found and "shows no intermediate results" in str(found)


# From here on the file is another torch network, every result of which is known.


class Call(nn.Module):
    """Layers by name and a function that runs them."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.run(self, x)


class Results(Interpreter):
    """Keeps a copy of every result."""

    def __init__(self, graph):
        super().__init__(graph)
        self.found = {}

    def run_node(self, n):
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor):
            self.found[n.name] = result.numpy().copy()
        return result


def _results(module, image=IMAGE):
    with torch.no_grad():
        results = Results(torch.export.export(module, (image,)).module(check_guards=False))
        results.run(image.clone())
    return results.found


def _call(run, **layers):
    torch.manual_seed(0)
    for layer in layers.values():
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.3)
    return Call(run, **layers).eval()


def _conv(inputs=3, outputs=8, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def test_another_operator_in_the_networks_own_forward_is_named():
    plus = _call(lambda m, x: m.b((y := m.a(x)) + y.sigmoid()), a=_conv(), b=_conv(8))
    minus = copy.deepcopy(plus)
    minus.run = lambda m, x: m.b((y := m.a(x)) - y.sigmoid())
    found = _found(plus, _results(minus))
    assert (found.layer, found.operator) == (OWN_FORWARD, "add") and found.after.endswith("(sigmoid)")


def test_the_operator_is_named_where_nothing_before_it_differs_in_any_branch():
    """The second branch of two is wrong, after the first one has run."""
    net = _call(lambda m, x: torch.cat([m.b(y := m.a(x)), m.c(y)], 1), a=_conv(), b=_conv(8), c=_conv(8, 5))
    found = _found(_changed(net, "c.bias"), _results(net))
    assert (found.layer, found.operator, found.after) == ("c", "conv2d", "b (conv2d)")


def test_zeros_that_the_file_has_elsewhere_do_not_clear_a_layer():
    """Damaged, `b` and its ReLU give nothing but zeros, as many as the file has in the place of another layer."""
    net = _call(lambda m, x: m.c(m.a(x).relu() * m.b(x).relu()), a=_conv(), b=_conv(), c=_conv(8))
    damaged = copy.deepcopy(net)
    with torch.no_grad():
        damaged.b.bias -= 1000.0
    layers = _results(net) | {"another": np.zeros((1, 8, 16, 24), np.float32)}
    del layers["conv2d_1"]  # as if fused with the ReLU
    found = _found(damaged, layers)
    assert (found.layer, found.note) == ("b", f"in the file it may be one with {OWN_FORWARD} (relu)")


def test_a_layer_whose_results_are_all_zeros_is_no_fault():
    net = _call(lambda m, x: m.b(m.a(x).relu()) + x, a=_conv(), b=_conv(8, 3))
    with torch.no_grad():
        net.a.bias -= 1000.0
    layers = _results(net)
    assert not float(layers["relu"].any())
    del layers["conv2d"]
    assert not _found(net, layers).found
    assert _found(_changed(net, "b.bias"), _results(net)).layer == "b"


def test_a_single_number_at_the_end_is_compared_as_well():
    net = _call(lambda m, x: m.b(m.a(x).mean((2, 3))), a=_conv(), b=nn.Linear(8, 1))
    assert not _found(net, _results(net)).found
    assert _found(_changed(net, "b.bias"), _results(net)).layer == "b"


def test_a_part_that_is_right_does_not_vouch_for_the_whole():
    """Half of what `a` gives is wrong; the other half and what is computed from it is right."""
    net = _call(
        lambda m, x: torch.cat([m.b((parts := m.a(x).chunk(2, 1))[0]), m.c(parts[1])], 1),
        a=_conv(), b=_conv(4), c=_conv(4),
    )  # fmt: skip
    found = _found(_changed(net, "a.bias", at=7), _results(net))
    assert (found.layer, found.operator) == ("a", "conv2d")


def test_a_right_average_does_not_vouch_for_what_was_averaged():
    """Mirrored, what `a` gives has the same averages."""
    net = _call(lambda m, x: (y := m.a(x)) * m.b(y.mean((2, 3), keepdim=True)).sigmoid(), a=_conv(), b=_conv(8, 8))
    other = copy.deepcopy(net)
    other.run = lambda m, x: (y := m.a(x).flip(3)) * m.b(y.mean((2, 3), keepdim=True)).sigmoid()
    layers = _results(other)
    del layers["conv2d"]
    assert _found(net, layers).layer == "a"


def test_a_padding_before_the_layer_is_named_with_it():
    net = _call(lambda m, x: m.a(nn.functional.pad(x, (0, 1, 0, 1))), a=nn.Conv2d(3, 8, 3, stride=2))
    layers = _results(net)
    layers = {name: array for name, array in layers.items() if "pad" not in name}
    assert not _found(net, layers).found, "what is fused is no fault"
    found = _found(_changed(net, "a.weight"), layers)
    assert (found.operator, found.note) == ("pad", "in the file it may be one with a (conv2d)")


def test_a_layer_that_is_called_twice_is_named_by_its_path():
    net = _call(lambda m, x: m.a(m.a(x).tanh()), a=_conv(3, 3))
    other = copy.deepcopy(net)
    other.run = lambda m, x: m.a(m.a(x).tanh()) * 1.5
    layers = {name: array for name, array in _results(other).items() if name != "conv2d_1"}
    found = _found(net, layers)
    assert (found.layer, found.after) == ("a", f"{OWN_FORWARD} (tanh)")


def test_weights_that_the_network_computes_are_not_looked_for():
    """Converters compute them once; the layer that reads them is named."""
    net = _call(lambda m, x: nn.functional.conv2d(m.a(x), m.b.weight * 2 + 1), a=_conv(), b=_conv(8))
    layers = {name: array for name, array in _results(net).items() if "conv" in name}
    assert not _found(net, layers).found
    assert _found(_changed(net, "b.weight"), layers).operator == "conv2d"


def test_results_that_are_not_finite_or_no_floats_agree_with_nothing():
    net = _call(lambda m, x: m.b(m.a(x)), a=_conv(), b=_conv(8))
    layers = _results(net)
    layers["conv2d_1"] = layers["conv2d_1"] * np.float32(np.nan)
    assert _found(net, layers | {"words": np.array(["b"]), "nothing": np.zeros(0, np.float32)}).layer == "b"


def test_a_network_that_overflows_agrees_with_nothing_there():
    net = _call(lambda m, x: m.b(m.a(x) * 1e30 * 1e30), a=_conv(), b=_conv(8))
    with np.errstate(all="ignore"):
        found = _found(net, _results(net) | {"finite": np.ones((1, 8, 16, 24), np.float32)})
    assert (found.operator, found.after) == ("mul", f"{OWN_FORWARD} (mul)")


def test_a_network_that_torch_cannot_export_is_said_to_be_one():
    net = _call(lambda m, x: m.a(x) if x.sum() > 0 else x, a=_conv())
    found = _found(net, {"any": np.ones(3, np.float32)})
    assert not found.found and "torch.export cannot look into the network: " in str(found)


def test_network_and_inputs_stay_as_they_are():
    net = _call(lambda m, x: m.a(x.mul_(2)).relu_(), a=_conv())
    image, before = IMAGE.clone(), copy.deepcopy(net.state_dict())
    find_first_divergence(net, (image,), {"any": np.ones(3, np.float32)}, TOLERANCE)
    assert torch.equal(image, IMAGE)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_complex_and_empty_results_are_passed_over():
    net = _call(lambda m, x: m.b(torch.cat([torch.fft.fft2(y := m.a(x)).real, y[:, :0]], 1)), a=_conv(), b=_conv(8))
    layers = {name: array for name, array in _results(net).items() if array.dtype == np.float32}
    assert not _found(net, layers).found
    assert _found(_changed(net, "b.bias"), layers).layer == "b"

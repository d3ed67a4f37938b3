from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.exporting.exporters.executorch import PATTERNS, STEPS, ExecuTorch, lower_to_xnnpack
from deploy_prune.exporting.steps import Asked, write_in_steps
from deploy_prune.values import Network


def _outputs(path, *arrays):
    return plugins.build("runtimes", "executorch").open(path, threads=1).run(*arrays)


def test_xnnpack_takes_every_operator_of_a_plain_cnn(tiny_pte):
    """Operators that ExecuTorch runs itself would be named in the file."""
    content = tiny_pte.read_bytes()
    assert b"XnnpackBackend" in content and b"aten::" not in content


@pytest.mark.heavy
def test_an_operator_that_xnnpack_lacks_runs_on_executorchs_own_kernels(tmp_path):
    class RunningSums(nn.Module):
        def forward(self, x):
            return torch.cumsum(x * 2, 1)

    path = tmp_path / "net.pte"
    ExecuTorch().write(Network("tests:running_sums", RunningSums(), ((3,),), 3), path)
    assert b"aten::cumsum" in path.read_bytes()
    (found,) = _outputs(path, np.array([[1.0, 2.0, 4.0]], np.float32))
    assert found.tolist() == [[2.0, 6.0, 14.0]]


@pytest.mark.heavy
def test_a_shared_convolution_keeps_the_norm_of_each_place(tmp_path):
    """One weight under two norms: w = 2, the norms times 1 and times 3 -> 2x and 6x."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            self.one, self.three = (nn.BatchNorm2d(1, eps=0.0) for _ in range(2))
            nn.init.constant_(self.conv.weight, 2.0)
            nn.init.constant_(self.three.weight, 3.0)

        def forward(self, x):
            return self.one(self.conv(x)), self.three(self.conv(x))

    path = tmp_path / "net.pte"
    ExecuTorch().write(Network("tests:shared", Shared(), ((1, 1, 2),), 2), path)
    one, three = _outputs(path, np.array([[[[1.0, 5.0]]]], np.float32))
    np.testing.assert_allclose(one.ravel(), [2.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(three.ravel(), [6.0, 30.0], rtol=1e-6)


@pytest.mark.heavy
def test_what_a_norm_no_longer_needs_is_not_in_the_file(tmp_path):
    """4 x 64 channels of 64 weights and a bias; 4.5 KB of the format. Three more numbers per channel would be 3 KB."""
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64))]
    module = nn.Sequential(*layers)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    ExecuTorch().write(Network("tests:norms", module, ((64, 2, 2),), 2), tmp_path / "net.pte")
    constants = 4 * 4 * 64 * (64 + 1)
    assert constants <= (tmp_path / "net.pte").stat().st_size <= constants + 6144


def test_the_file_does_not_tell_where_it_was_made(tiny_pte):
    content = tiny_pte.read_bytes()
    assert b"site-packages" not in content and b".py" not in content


@pytest.mark.heavy
def test_exporting_twice_writes_the_same_bytes(tiny_network, tiny_pte, tmp_path):
    ExecuTorch().write(tiny_network, tmp_path / "again.pte")
    assert (tmp_path / "again.pte").read_bytes() == tiny_pte.read_bytes()


class Attention(nn.Module):
    """A row of four tokens that look at one another."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).mean(1)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 4, 3), Attention()),
    ],
    ids=["plain", "upsampling", "attention"],
)
def test_patterns_that_are_not_looked_for_change_no_file(module, tmp_path):
    """Bilinear upsampling and attention are found where they are, and nothing is lost where they are not."""
    network = Network("tests:patterns", module, ((3, 4, 4),), 4)
    ExecuTorch().write(network, tmp_path / "spared.pte")
    whole = [partial(step, spared={}) if step is lower_to_xnnpack else step for step in STEPS]
    write_in_steps(whole, Asked(ExecuTorch(), network), tmp_path / "whole.pte")
    assert (tmp_path / "spared.pte").read_bytes() == (tmp_path / "whole.pte").read_bytes()


def test_every_pattern_has_its_function_in_this_executorch():
    """One that is renamed would be built again, slowly and without a word."""
    for name, (function, _, _) in PATTERNS.items():
        module = importlib.import_module(f"executorch.backends.xnnpack.partition.graphs.{name}")
        assert callable(vars(module)[function])

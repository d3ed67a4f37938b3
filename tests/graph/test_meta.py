"""What is computed without asking torch is what torch would have said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.graph import meta

ATEN = torch.ops.aten
Told = list[tuple[tuple[int, ...], tuple[int, ...], torch.dtype]] | str


def empty(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def tell(call: Any, func: Any, args: tuple[Any, ...]) -> Told:
    """Shapes, strides and types of what a call returns, or that it fails."""
    try:
        returned = call(func, args, {})
    except (RuntimeError, IndexError, ValueError):
        return "refused"
    tensors = returned if isinstance(returned, tuple) else (returned,)
    return [(tuple(each.shape), each.stride(), each.dtype) for each in tensors]


def ask_torch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    """Arguments of a convolution, some of which do not fit."""
    size, small = st.integers(1, 7), st.integers(1, 3)
    dimensions, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2, 3]))
    inputs = draw(st.sampled_from([groups, 2 * groups, 5]))
    outputs = draw(st.sampled_from([groups, 3 * groups, 4]))
    spaces = [draw(size) for _ in range(dimensions)]
    kernels = [draw(small) for _ in range(dimensions)]
    steps, dilations = ([draw(small) for _ in range(dimensions)] for _ in range(2))
    pads = [draw(st.integers(0, 2)) for _ in range(dimensions)]
    bias = draw(st.sampled_from([None, empty(outputs), empty(outputs + 1)]))
    source = empty(draw(small), inputs, *spaces)
    if draw(st.booleans()):
        source = source.transpose(1, 2).contiguous().transpose(1, 2)
    weight = empty(outputs, max(1, inputs // groups), *kernels)
    transposed, none = draw(st.sampled_from([False, False, True])), [0] * dimensions
    return source, weight, bias, steps, pads, dilations, transposed, none, groups


@given(convolutions())
def test_a_convolution_has_the_shape_that_torch_gives_it(args):
    expected = tell(ask_torch, ATEN.convolution.default, args)
    told = tell(meta.run, ATEN.convolution.default, args)
    assert told == expected


@pytest.mark.parametrize(("training", "statistics"), [(True, 5), (True, 4), (True, None), (False, 5), (False, 4)])
def test_a_norm_has_the_shapes_that_torch_gives_it(training, statistics):
    running = None if statistics is None else empty(statistics)
    args = (empty(2, 5, 3, 3), empty(5), empty(5), running, running, training, 0.1, 1e-5)
    told = tell(meta.run, ATEN.native_batch_norm.default, args)
    expected = tell(ask_torch, ATEN.native_batch_norm.default, args)
    count = 3 if training else 1  # nobody reads what an evaluation saves for the way back
    assert told[:count] == expected[:count]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "relu", "silu"])
@pytest.mark.parametrize("other", [(2, 5, 3), (5, 1), (4,)])
def test_what_meets_element_by_element_has_the_shape_that_torch_gives_it(name, other):
    func = getattr(ATEN, name)
    func, args = (
        (func.Tensor, (empty(2, 5, 3), empty(*other))) if hasattr(func, "Tensor") else (func.default, (empty(*other),))
    )
    assert tell(meta.run, func, args) == tell(ask_torch, func, args)

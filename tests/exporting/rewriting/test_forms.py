"""Every form gives what torch's operator gives, and an operator that needs none stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from deploy_prune.exporting.rewriting import forms
from deploy_prune.exporting.rewriting.call import bind
from examples import examples

aten = torch.ops.aten
TRANSPOSED = {1: aten.conv_transpose1d.default, 2: aten.conv_transpose2d.input, 3: aten.conv_transpose3d.input}
NEAREST = {
    1: (aten.upsample_nearest1d.vec, aten._upsample_nearest_exact1d.vec),
    2: (aten.upsample_nearest2d.vec, aten._upsample_nearest_exact2d.vec),
    3: (aten.upsample_nearest3d.vec, aten._upsample_nearest_exact3d.vec),
}


def check(plan: Any, operator: Any, *arguments: Any) -> None:
    """The form that a plan gives for a call, against the call."""
    form = plan(bind(operator, *arguments))
    if form is not None:
        torch.testing.assert_close(form(*arguments), operator(*arguments), rtol=1e-4, atol=1e-5)


def sides(count: int, low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=count, max_size=count)


@examples(150)
@given(st.data())
def test_transposed_convolutions_of_any_padding_stride_and_dilation(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    size, kernel, stride, padding, more, dilation = (
        data.draw(sides(count, low, high)) for low, high in ((3, 6), (1, 4), (1, 3), (0, 2), (0, 2), (1, 3))
    )
    groups, with_bias = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.booleans())
    lines = zip(size, kernel, stride, padding, more, dilation, strict=True)
    assume(all(extra < max(step, d) and (s - 1) * step + d * (k - 1) + 1 + extra > 2 * p
               for s, k, step, p, extra, d in lines))  # fmt: skip
    torch.manual_seed(0)
    bias = torch.randn(3 * groups) if with_bias else None
    image, weight = torch.randn(1, 4, *size), torch.randn(4, 3, *kernel)
    check(forms.crop_transposed, TRANSPOSED[count], image, weight, bias, stride, padding, more, groups, dilation)


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (4, 2, 1), (3, 1, 1), (3, 2, 0)])
def test_a_transposed_convolution_that_converters_know_stays(size: int, stride: int, padding: int) -> None:
    image, weight = torch.randn(1, 4, 5, 5), torch.randn(4, 3, size, size)
    assert forms.crop_transposed(bind(TRANSPOSED[2], image, weight, None, [stride], [padding])) is None


@examples(150)
@given(st.data(), st.booleans())
def test_nearest_pixels_of_any_size_or_scale(data: st.DataObject, by_scale: bool) -> None:
    count = data.draw(st.integers(1, 3))
    image = torch.arange(3.0)[:, None] + torch.randn(1, 3, 1)
    image = torch.randn(1, 3, *data.draw(sides(count, 1, 7)), generator=torch.Generator().manual_seed(0))
    scales = st.lists(st.floats(1, 3), min_size=count, max_size=count)
    size = (None, data.draw(scales)) if by_scale else (data.draw(sides(count, 1, 20)), None)
    for operator in NEAREST[count]:
        check(forms.pick_nearest, operator, image, *size)


def test_a_multiple_of_the_size_stays() -> None:
    assert forms.pick_nearest(bind(NEAREST[2][0], torch.randn(1, 3, 4, 5), [8, 15], None)) is None
    assert forms.pick_nearest(bind(NEAREST[2][0], torch.randn(1, 3, 4, 5), [8, 14], None)) is not None


def test_what_is_expanded_is_repeated() -> None:
    weight = torch.randn(3, 1, 2)
    check(forms.repeat_expanded, aten.expand.default, weight, [4, -1, 5, 2])
    check(forms.repeat_expanded, aten.expand_as.default, weight, torch.zeros(1, 3, 5, 2))
    assert forms.repeat_expanded(bind(aten.expand.default, weight, [3, -1, 2])) is None


@pytest.mark.parametrize("exponent", [2, 0.5, 1.7, -1])
def test_powers_of_five_dimensions_are_taken_in_a_row(exponent: float) -> None:
    check(forms.raise_flat, aten.pow.Tensor_Scalar, torch.rand(1, 2, 3, 2, 2) + 0.1, exponent)
    assert forms.raise_flat(bind(aten.pow.Tensor_Scalar, torch.rand(1, 2, 3, 2), exponent)) is None


@pytest.mark.parametrize("keep", [True, False])
def test_extremes_come_with_their_places(keep: bool) -> None:
    image = torch.randn(1, 5, 3, 3)
    check(forms.part_largest, aten.max.dim, image, 1, keep)
    check(forms.part_smallest, aten.min.dim, image, -1, keep)


@pytest.mark.parametrize("amounts", [[-1, 2], [-1, -2, 1, 0], [2, 1, 3, 1]])
@pytest.mark.parametrize("mode", ["constant", "circular"])
def test_padding_of_either_sign_and_around_a_circle(amounts: list[int], mode: str) -> None:
    image = torch.randn(1, 2, 5, 6)
    if mode == "constant" or len(amounts) == 4:
        check(forms.pad_in_turns, aten.pad.default, image, amounts, mode, 0.5 if mode == "constant" else None)


def test_plain_padding_stays() -> None:
    assert forms.pad_in_turns(bind(aten.pad.default, torch.randn(1, 2, 5, 6), [1, 0, 2, 2])) is None


@pytest.mark.parametrize(("kernel", "dilation"), [((2, 3), (1, 1)), ((4, 3), (3, 2)), ((1, 5), (1, 1))])
def test_padding_that_keeps_the_size_is_given_in_numbers(kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    image, weight, bias = torch.randn(1, 4, 9, 8), torch.randn(6, 2, *kernel), torch.randn(6)
    check(forms.pad_same, aten.conv2d.padding, image, weight, bias, (1, 1), "same", dilation, 2)


def row(tensor: Tensor) -> list[float]:
    return [float(number) for number in tensor.flatten()]


def test_output_padding_beyond_the_padding_holds_the_bias_alone() -> None:
    """A kernel of ones at stride 3: 1 0 0 2, one cut off at the front, two more at the end, and a bias of 10."""
    arguments = (torch.tensor([[[1.0, 2.0]]]), torch.ones(1, 1, 1), torch.tensor([10.0]), [3], [0], [2])
    form = forms.crop_transposed(bind(TRANSPOSED[1], *arguments))
    assert form
    assert row(form(*arguments)) == [11, 10, 10, 12, 10, 10]

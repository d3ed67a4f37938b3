"""Poolings without windows that hang over, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy_prune.exporting.rewriting import pooling
from deploy_prune.exporting.rewriting.call import bind
from examples import examples

aten = torch.ops.aten
AVERAGE = {1: aten.avg_pool1d.default, 2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}
LARGEST = {1: aten.max_pool1d.default, 2: aten.max_pool2d.default, 3: aten.max_pool3d.default}


def draw_window(data: st.DataObject) -> tuple[torch.Tensor, list[list[int]], list[int]]:
    """An image of one to three dimensions; kernel, stride and padding; dilation."""
    count = data.draw(st.integers(1, 3))
    sides = [data.draw(st.lists(st.integers(1, high), min_size=count, max_size=count)) for high in (4, 3, 3, 2)]
    kernel, stride, padding, dilation = sides
    padding = [min(before - 1, size // 2) for before, size in zip(padding, kernel, strict=True)]
    space = data.draw(st.lists(st.integers(5, 9), min_size=count, max_size=count))
    assume(all((k - 1) * d < size + 2 * p for k, d, size, p in zip(kernel, dilation, space, padding, strict=True)))
    return torch.randn(1, 2, *space), [kernel, stride, padding], dilation


def check(plan: Any, operator: Any, *arguments: Any) -> None:
    form = plan(bind(operator, *arguments))
    if form is not None:
        torch.testing.assert_close(form(*arguments), operator(*arguments), rtol=1e-5, atol=1e-6)


@examples(150)
@given(st.data(), st.booleans(), st.booleans(), st.sampled_from([None, 5]))
def test_averages_of_any_window(data: st.DataObject, ceil: bool, counts_padding: bool, divisor: int | None) -> None:
    image, window, _ = draw_window(data)
    rest = () if image.ndim == 3 else (divisor,)
    for plan in (pooling.average_padded, pooling.average_exactly, pooling.average_inside):
        check(plan, AVERAGE[image.ndim - 2], image, *window, ceil, counts_padding, *rest)


@examples(150)
@given(st.data(), st.booleans())
def test_the_largest_of_any_window(data: st.DataObject, ceil: bool) -> None:
    image, window, dilation = draw_window(data)
    for plan in (pooling.compare_taps, pooling.compare_inside):
        check(plan, LARGEST[image.ndim - 2], image, *window, dilation, ceil)


def test_what_hangs_over_is_not_counted() -> None:
    """A row of 7, windows of 2 at stride 3: the last window holds one number, which torch does not halve."""
    call = bind(AVERAGE[1], torch.arange(7.0)[None, None], [2], [3], [0], True)
    form = pooling.average_padded(call)
    assert form
    assert form(call.image).flatten().tolist() == [0.5, 3.5, 6.0]


@pytest.mark.parametrize("ceil", [True, False])
def test_a_window_that_begins_outside_is_none(ceil: bool) -> None:
    """A row of 12, windows of 2 at stride 3: a fifth one would begin at 12. Core ML would count it."""
    call = bind(LARGEST[1], torch.arange(12.0)[None, None], [2], [3], [0], [1], ceil)
    form = pooling.compare_taps(call)
    assert (form is not None) == ceil == (pooling.round_down(call) is not None)
    if form:
        assert form(call.image).flatten().tolist() == [1, 4, 7, 10]


def test_no_form_has_a_window_that_begins_outside() -> None:
    """Rows of 12 and columns of 7, windows of 2 at stride 3: a fifth row begins at 12, a third column hangs over."""
    image = torch.randn(1, 2, 12, 7)
    for plan, call in (
        (pooling.average_inside, bind(AVERAGE[2], image, [2], [3], [0], True)),
        (pooling.compare_inside, bind(LARGEST[2], image, [2], [3], [0], [1], True)),
    ):
        form = plan(call)
        assert form
        assert form(image).shape == (1, 2, 4, 3)
        assert plan(bind(call.operator, image, [2], [3])) is None


def test_what_onnx_has_no_word_for_is_rewritten_and_counted_padding_stays() -> None:
    image = torch.randn(1, 2, 8, 8)
    assert pooling.average_exactly(bind(AVERAGE[2], image, [3], [2], [1])) is None
    assert pooling.average_exactly(bind(AVERAGE[2], image, [3], [2], [1], False, True, 5)) is not None
    assert pooling.average_exactly(bind(AVERAGE[2], image, [3], [2], [0], True)) is not None


def test_plain_poolings_stay() -> None:
    image = torch.randn(1, 2, 8, 8)
    assert pooling.average_padded(bind(AVERAGE[2], image, [3, 3], [2, 2], [1, 1], False, False)) is None
    assert pooling.compare_taps(bind(LARGEST[2], image, [3, 3], [2, 2], [1, 1])) is None

"""Every row of the table against torch's operator, on random shapes and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy_prune.errors import NotVerifiable
from deploy_prune.formats.mil.operators import OPERATORS
from examples import examples

SEEDS = range(4)
QUICK = examples(60)


def call(kind, **arguments):
    """The table's row, with tensors given and taken as torch's."""
    plain = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()}
    found = OPERATORS[kind](**plain)
    return [torch.from_numpy(np.array(part)) for part in (found if isinstance(found, tuple) else (found,))]


def agree(found, expected):
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one.to(other.dtype), other, rtol=1e-5, atol=1e-5)


def numbers(generator, *shape, low=-3.0, high=3.0):
    return low + (high - low) * torch.rand(*shape, generator=generator)


def shape_of(generator, rank=None):
    rank = rank or int(torch.randint(1, 5, (), generator=generator))
    return [int(torch.randint(1, 6, (), generator=generator)) for _ in range(rank)]


UNARY = {
    "abs": (torch.abs, {}), "ceil": (torch.ceil, {}), "floor": (torch.floor, {}), "round": (torch.round, {}),
    "sign": (torch.sign, {}), "square": (torch.square, {}), "exp": (torch.exp, {}), "sin": (torch.sin, {}),
    "cos": (torch.cos, {}), "tanh": (torch.tanh, {}), "identity": (lambda x: x, {}), "relu": (F.relu, {}),
    "relu6": (F.relu6, {}), "sigmoid": (torch.sigmoid, {}), "silu": (F.silu, {}), "softplus": (F.softplus, {}),
    "softsign": (F.softsign, {}), "erf": (torch.erf, {}), "logical_not": (torch.logical_not, {}),
    "clip": (lambda x: torch.clamp(x, -0.5, 1.5), {"alpha": np.float32(-0.5), "beta": np.float32(1.5)}),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), {"alpha": np.float32(0.2)}),
    "thresholded_relu": (lambda x: F.threshold(x, 1.0, 0.0), {"alpha": np.float32(1.0)}),
    "elu": (lambda x: F.elu(x, 0.7), {"alpha": np.float32(0.7)}),
    "sigmoid_hard": (F.hardsigmoid, {"alpha": np.float32(1 / 6), "beta": np.float32(0.5)}),
    "scaled_tanh": (lambda x: 1.5 * torch.tanh(0.4 * x), {"alpha": np.float32(1.5), "beta": np.float32(0.4)}),
    "cast": (lambda x: x.to(torch.int32), {"dtype": "int32"}),
}  # fmt: skip
POSITIVE = {
    "sqrt": (torch.sqrt, {}), "rsqrt": (torch.rsqrt, {}), "log": (torch.log, {}),
    "inverse": (lambda x: 1 / (x + 0.25), {"epsilon": np.float32(0.25)}),
}  # fmt: skip
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum,
    "equal": torch.eq, "not_equal": torch.ne, "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt,
    "less_equal": torch.le, "logical_and": torch.logical_and, "logical_or": torch.logical_or,
}  # fmt: skip
DIVIDING = {"real_div": torch.div, "floor_div": torch.floor_divide, "mod": torch.remainder, "pow": torch.pow}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [*UNARY, *POSITIVE])
def test_what_takes_each_element_by_itself(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    expected, arguments = {**UNARY, **POSITIVE}[kind]
    x = numbers(generator, *shape_of(generator), low=0.1 if kind in POSITIVE else -3.0)
    agree(call(kind, x=x, **arguments), expected(x))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [*BINARY, *DIVIDING])
def test_what_takes_two_operands_broadcasts(kind, seed):
    """(a, 1, c) with (b, 1); small whole numbers, so that some are equal."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c = shape_of(generator, 3)
    low = 0.5 if kind in DIVIDING else -3.0
    x = numbers(generator, a, 1, c, low=low) if kind in DIVIDING else numbers(generator, a, 1, c).round()
    y = numbers(generator, b, 1, low=low) if kind in DIVIDING else numbers(generator, b, 1).round()
    agree(call(kind, x=x, y=y), {**BINARY, **DIVIDING}[kind](x, y))


@pytest.mark.parametrize("mode", ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])
def test_gelu(mode):
    x = torch.linspace(-6, 6, 200)
    expected = {
        "EXACT": F.gelu(x), "TANH_APPROXIMATION": F.gelu(x, approximate="tanh"),
        "SIGMOID_APPROXIMATION": x * torch.sigmoid(1.702 * x),
    }  # fmt: skip
    agree(call("gelu", x=x, mode=mode), expected[mode])


def test_prelu_has_a_slope_per_channel():
    x, alpha = torch.randn(2, 3, 4, 5), torch.tensor([0.1, 0.5, -1.0])
    agree(call("prelu", x=x, alpha=alpha), F.prelu(x, alpha))


def test_select_takes_a_where_the_condition_holds():
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    agree(call("select", cond=a > 0, a=a, b=b), torch.where(a > 0, a, b))


windows = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(7, 11), st.integers(7, 11)),
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilation": st.integers(1, 2),
        "padding": st.tuples(*[st.integers(0, 2)] * 4),
        "batch": st.integers(1, 2),
        "seed": st.integers(0, 99),
    }
)


@QUICK
@given(windows, st.sampled_from([(1, 3, 5), (2, 2, 3), (4, 1, 2), (3, 1, 1), (1, 1, 1)]), st.booleans())
def test_convolutions_of_any_groups_strides_dilations_and_padding(window, groups, with_bias):
    """Groups, channels in and out per group: whole, grouped, depthwise with and without a multiplier."""
    parts, inputs, outputs = groups
    torch.manual_seed(window["seed"])
    x = torch.randn(window["batch"], parts * inputs, *window["size"])
    weight = torch.randn(parts * outputs, inputs, *window["kernel"])
    bias = torch.randn(parts * outputs) if with_bias else None
    top, bottom, left, right = window["padding"]
    found = call(
        "conv", x=x, weight=weight, pad_type="custom", pad=np.array(window["padding"]), groups=np.int32(parts),
        strides=np.array(window["stride"]), dilations=np.array([window["dilation"]] * 2), bias=bias,
    )  # fmt: skip
    padded = F.pad(x, (left, right, top, bottom))
    agree(found, F.conv2d(padded, weight, bias, window["stride"], 0, window["dilation"], parts))


@QUICK
@given(windows, st.sampled_from(["valid", "same", "same_lower"]))
def test_named_paddings(window, kind):
    """`same` keeps ceil(size / stride); the odd row is at the end, with `same_lower` at the beginning."""
    torch.manual_seed(window["seed"])
    x, weight = torch.randn(1, 2, *window["size"]), torch.randn(3, 2, *window["kernel"])
    (found,) = call("conv", x=x, weight=weight, pad_type=kind, strides=np.array(window["stride"]))
    if kind == "valid":
        return agree([found], F.conv2d(x, weight, stride=window["stride"]))
    steps = zip(window["size"], window["stride"], strict=True)
    assert list(found.shape[2:]) == [-(-size // step) for size, step in steps]
    halves = [((size - 1) // 2, size // 2) for size in window["kernel"]]
    (top, bottom), (left, right) = halves if kind == "same" else [half[::-1] for half in halves]
    padded = F.pad(x, (left, right, top, bottom))
    return agree(call("conv", x=x, weight=weight, pad_type=kind), F.conv2d(padded, weight))


def test_a_convolution_over_one_and_three_dimensions():
    x, weight = torch.randn(2, 3, 9), torch.randn(4, 3, 2)
    agree(call("conv", x=x, weight=weight, strides=np.array([2])), F.conv1d(x, weight, stride=2))
    x, weight = torch.randn(1, 2, 5, 6, 7), torch.randn(3, 2, 2, 3, 2)
    agree(call("conv", x=x, weight=weight), F.conv3d(x, weight))


@QUICK
@given(windows, st.sampled_from([(1, 3, 2), (2, 2, 3), (3, 1, 1)]), st.integers(0, 1))
def test_transposed_convolutions(window, groups, more):
    parts, inputs, outputs = groups
    torch.manual_seed(window["seed"])
    dilation, stride, kernel = window["dilation"], window["stride"], window["kernel"]
    top, _, left, _ = (min(amount, (size - 1) * dilation) for amount, size in zip(
        window["padding"], (kernel[0], kernel[0], kernel[1], kernel[1]), strict=True))  # fmt: skip
    more = [min(more, max(step, dilation) - 1, before) for step, before in zip(stride, (top, left), strict=True)]
    x = torch.randn(window["batch"], parts * inputs, *window["size"])
    weight, bias = torch.randn(parts * inputs, outputs, *kernel), torch.randn(parts * outputs)
    expected = F.conv_transpose2d(x, weight, bias, stride, (top, left), more, parts, dilation)
    found = call(
        "conv_transpose", x=x, weight=weight, bias=bias, pad_type="custom", strides=np.array(stride),
        pad=np.array([top, top - more[0], left, left - more[1]]), dilations=np.array([dilation] * 2),
        groups=np.int32(parts), output_shape=np.array(expected.shape),
    )  # fmt: skip
    agree(found, expected)


def test_an_output_shape_that_the_padding_does_not_give_is_in_doubt():
    """Apple's documentation does not say at which end it is cut."""
    x, weight = torch.randn(1, 1, 4), torch.randn(1, 1, 3)
    with pytest.raises(NotVerifiable, match="conv_transpose with an output_shape"):
        call("conv_transpose", x=x, weight=weight, strides=np.array([2]), output_shape=np.array([1, 1, 8]))


@QUICK
@given(windows, st.booleans(), st.booleans())
def test_poolings(window, ceil_mode, include):
    torch.manual_seed(window["seed"])
    kernel, stride = window["kernel"], window["stride"]
    # where windows leave gaps, MIL rounds up to one that lies outside altogether and torch does not
    assume(not ceil_mode or all(step <= size for step, size in zip(stride, kernel, strict=True)))
    pads = [min(amount, size // 2) for amount, size in zip(window["padding"], kernel, strict=False)]
    x = torch.randn(window["batch"], 3, *window["size"])
    given_ = {
        "x": x, "kernel_sizes": np.array(kernel), "strides": np.array(stride), "ceil_mode": ceil_mode,
        "pad_type": "custom", "pad": np.repeat(pads, 2),
    }  # fmt: skip
    agree(call("max_pool", **given_), F.max_pool2d(x, kernel, stride, pads, ceil_mode=ceil_mode))
    expected = F.avg_pool2d(x, kernel, stride, pads, ceil_mode, include)
    hangs_over = expected.shape != F.avg_pool2d(x, kernel, stride, pads).shape
    if hangs_over or (include and any(pads)):  # Core ML is reported to divide by other numbers
        with pytest.raises(NotVerifiable, match="avg_pool"):
            call("avg_pool", **given_, exclude_padding_from_average=not include)
    else:
        agree(call("avg_pool", **given_, exclude_padding_from_average=not include), expected)


REDUCTIONS = {
    "reduce_mean": torch.mean, "reduce_sum": torch.sum, "reduce_max": torch.amax, "reduce_min": torch.amin,
    "reduce_l2_norm": torch.linalg.vector_norm,
}  # fmt: skip


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_reductions(kind, keep):
    x = torch.randn(2, 3, 4, 5)
    found = call(kind, x=x, axes=np.array([-1, 1]), keep_dims=keep)
    agree(found, REDUCTIONS[kind](x, dim=(3, 1), keepdim=keep))


def test_the_product_along_an_axis_and_a_reduction_of_all():
    x = torch.randn(2, 3, 4)
    agree(call("reduce_prod", x=x, axes=np.array([1])), torch.prod(x, 1))
    agree(call("reduce_sum", x=x), torch.sum(x))


def test_products_with_matrices():
    x, weight, bias = torch.randn(2, 3, 7), torch.randn(5, 7), torch.randn(5)
    agree(call("linear", x=x, weight=weight, bias=bias), F.linear(x, weight, bias))
    y = torch.randn(2, 3, 6)
    agree(call("matmul", x=x, y=y, transpose_x=True), x.transpose(1, 2) @ y)
    z = torch.randn(2, 5, 7)
    agree(call("matmul", x=x, y=z, transpose_y=True), x @ z.transpose(1, 2))


def test_norms_and_softmax():
    x, mean, variance, gamma, beta = torch.randn(2, 3, 4, 5), *(torch.rand(4, 3) + 0.1)
    agree(
        call("batch_norm", x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=np.float32(1e-3)),
        F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3),
    )
    agree(call("instance_norm", x=x, gamma=gamma, beta=beta), F.instance_norm(x, weight=gamma, bias=beta))
    scale, shift = torch.randn(4, 5), torch.randn(4, 5)
    agree(
        call("layer_norm", x=x, axes=np.array([-2, -1]), gamma=scale, beta=shift), F.layer_norm(x, (4, 5), scale, shift)
    )
    agree(call("softmax", x=100 * x, axis=np.int32(1)), F.softmax(100 * x, 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_moves_elements(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b, c = shape_of(generator, 3)
    x = numbers(generator, a, b, c)
    y = numbers(generator, a, 2, c)
    agree(call("concat", values=(x.numpy(), y.numpy()), axis=np.int32(1), interleave=False), torch.cat([x, y], 1))
    agree(call("stack", values=(x.numpy(), x.numpy()), axis=np.int32(1)), torch.stack([x, x], 1))
    agree(call("transpose", x=x, perm=np.array([2, 0, 1])), x.permute(2, 0, 1))
    agree(call("reshape", x=x, shape=np.array([0, -1])), x.reshape(a, -1))
    agree(call("expand_dims", x=x, axes=np.array([0, -1])), x[None, ..., None])
    agree(call("squeeze", x=x[None, :, None], axes=np.array([0, 2])), x)
    agree(call("tile", x=x, reps=np.array([1, 2, 3])), x.repeat(1, 2, 3))
    index = torch.randint(b, (4,), generator=generator)
    agree(call("gather", x=x, indices=index, axis=np.int32(1)), x.index_select(1, index))
    whole = torch.cat([x, y], 1)
    agree(call("split", x=whole, axis=np.int32(1), split_sizes=np.array([b, 2])), (x, y))
    agree(call("split", x=torch.cat([x, x], 2), axis=np.int32(2), num_splits=np.int32(2)), (x, x))


def test_interleaved_concat_takes_turns():
    """Channels 0 1 and 10 11 become 0 10 1 11."""
    found = call("concat", values=(np.array([[0, 1]]), np.array([[10, 11]])), axis=1, interleave=True)
    assert found[0].tolist() == [[0, 10, 1, 11]]


def test_slices_by_index_and_size():
    x = torch.arange(60.0).reshape(3, 4, 5)
    found = call(
        "slice_by_index", x=x, begin=np.array([1, -3, 4]), end=np.array([0, -1, 0]), stride=np.array([1, 1, -2]),
        begin_mask=np.array([False, False, False]), end_mask=np.array([True, False, False]),
        squeeze_mask=np.array([False, False, False]),
    )  # fmt: skip
    agree(found, x[1:, -3:-1].flip(2)[:, :, :4:2])
    found = call(
        "slice_by_index", x=x, begin=np.array([2, 0, 0]), end=np.array([0, 0, 3]),
        begin_mask=np.array([False, True, False]), end_mask=np.array([False, True, False]),
        squeeze_mask=np.array([True, False, False]),
    )  # fmt: skip
    agree(found, x[2, :, 0:3])
    agree(call("slice_by_size", x=x, begin=np.array([1, 0, 2]), size=np.array([1, -1, 2])), x[1:2, :, 2:4])


@pytest.mark.parametrize(
    ("mode", "torchs"), [("constant", "constant"), ("reflect", "reflect"), ("replicate", "replicate")]
)
def test_pads(mode, torchs):
    x = torch.randn(1, 2, 4, 5)
    found = call("pad", x=x, pad=np.array([1, 2, 3, 0]), mode=mode, constant_val=np.float32(0.0))
    agree(found, F.pad(x, (3, 0, 1, 2), mode=torchs))


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("factors", [(2, 3), (1.5, 2.5)])
def test_enlarging(align, factors):
    x = torch.randn(1, 2, 4, 6)
    scales = {"scale_factor_height": factors[0], "scale_factor_width": factors[1]}
    size = (int(4 * factors[0]), int(6 * factors[1]))
    expected = F.interpolate(x, size=size, mode="bilinear", align_corners=align)
    agree(call("upsample_bilinear", x=x, align_corners=align, **scales), expected)


def test_nearest_pixels_by_whole_numbers_alone():
    x = torch.randn(1, 2, 4, 6)
    found = call("upsample_nearest_neighbor", x=x, scale_factor_height=2, scale_factor_width=np.float32(3))
    agree(found, F.interpolate(x, size=(8, 18), mode="nearest"))
    with pytest.raises(NotVerifiable, match=r"upsample_nearest_neighbor by 1\.5"):
        call("upsample_nearest_neighbor", x=x, scale_factor_height=np.float32(1.5))


def test_crop_takes_off_rows_and_columns():
    x = torch.arange(20.0).reshape(1, 4, 5)
    (found,) = call("crop", x=x, crop_height=np.array([1, 2]), crop_width=np.array([0, 3]))
    assert found.tolist() == [[[5, 6]]]


def test_pixel_shuffle():
    x = torch.randn(2, 12, 3, 4)
    agree(call("pixel_shuffle", x=x, upscale_factor=np.int32(2)), F.pixel_shuffle(x, 2))


def test_constants_plain_and_compressed():
    """Worked out by hand from the format's description: bits lowest first, indices across bytes."""
    assert call("const", val=np.float32([1, 2]))[0].tolist() == [1, 2]
    data = np.array([[0, 10], [20, 30]], np.uint8)
    found = call(
        "constexpr_affine_dequantize", quantized_data=data, zero_point=np.uint8([0, 10]), scale=np.float32([0.5, 2]),
        axis=np.int32(0),
    )  # fmt: skip
    assert found[0].tolist() == [[0, 5], [20, 40]]
    # 00 11 10 01 from the lowest bits up, then 11 in the next byte
    lut = np.float32([7, 8, 9, 10])
    indices = np.array([0b01101100, 0b00000011], np.uint8)
    found = call("constexpr_lut_to_dense", indices=indices, lut=lut, shape=np.uint32([5]))
    assert found[0].tolist() == [7, 10, 9, 8, 10]
    found = call(
        "constexpr_sparse_to_dense", nonzero_data=np.float32([5, 6]), mask=np.uint8([0b00001100]), shape=np.uint32([5])
    )
    assert found[0].tolist() == [0, 0, 5, 6, 0]
    assert call("constexpr_cast", source_val=np.float16([0.5]), output_dtype="fp32")[0].dtype == torch.float32


def test_every_row_is_held_against_something():
    """A new row needs a test here: this file must name it."""
    text = Path(__file__).read_text()
    assert not [kind for kind in OPERATORS if f'"{kind}"' not in text]

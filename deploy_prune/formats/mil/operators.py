"""The table: MIL operator -> function of its arguments, with MIL's own names and defaults (opsets iOS15, iOS16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deploy_prune.formats.mil import constants, convolution, elementwise, products, shapes

Function = Callable[..., Any]


def _take_one(function: Callable[[Any], Any]) -> Function:
    def evaluated(*, x: Any) -> Any:
        return function(x)

    return evaluated


def _take_two(function: Callable[[Any, Any], Any]) -> Function:
    def evaluated(*, x: Any, y: Any) -> Any:
        return function(x, y)

    return evaluated


CONSTANTS: Mapping[str, Function] = {
    "const": constants.const,
    "constexpr_affine_dequantize": constants.constexpr_affine_dequantize,
    "constexpr_cast": constants.constexpr_cast,
    "constexpr_lut_to_dense": constants.constexpr_lut_to_dense,
    "constexpr_sparse_to_dense": constants.constexpr_sparse_to_dense,
}
"""Evaluated once, when the file is opened."""

OPERATORS: Mapping[str, Function] = {
    **CONSTANTS,
    # windows
    "conv": convolution.conv,
    "conv_transpose": convolution.conv_transpose,
    "max_pool": convolution.max_pool,
    "avg_pool": convolution.avg_pool,
    # sums
    "linear": products.linear,
    "matmul": products.matmul,
    "batch_norm": products.batch_norm,
    "instance_norm": products.instance_norm,
    "layer_norm": products.layer_norm,
    "softmax": products.softmax,
    "reduce_mean": products.make_reduction(np.mean),
    "reduce_sum": products.make_reduction(np.sum),
    "reduce_max": products.make_reduction(np.max),
    "reduce_min": products.make_reduction(np.min),
    "reduce_prod": products.make_reduction(np.prod),
    "reduce_l2_norm": products.make_reduction(products.l2_norm),
    # each element by itself
    "add": _take_two(np.add),
    "sub": _take_two(np.subtract),
    "mul": _take_two(np.multiply),
    "real_div": _take_two(np.divide),
    "floor_div": elementwise.floor_div,
    "mod": _take_two(np.mod),
    "pow": _take_two(np.power),
    "maximum": _take_two(np.maximum),
    "minimum": _take_two(np.minimum),
    "equal": _take_two(np.equal),
    "not_equal": _take_two(np.not_equal),
    "greater": _take_two(np.greater),
    "greater_equal": _take_two(np.greater_equal),
    "less": _take_two(np.less),
    "less_equal": _take_two(np.less_equal),
    "logical_and": _take_two(np.logical_and),
    "logical_or": _take_two(np.logical_or),
    "logical_not": _take_one(np.logical_not),
    "select": elementwise.select,
    "abs": _take_one(np.abs),
    "ceil": _take_one(np.ceil),
    "floor": _take_one(np.floor),
    "round": _take_one(np.round),
    "sign": _take_one(np.sign),
    "square": _take_one(np.square),
    "sqrt": _take_one(np.sqrt),
    "rsqrt": elementwise.rsqrt,
    "inverse": elementwise.inverse,
    "exp": _take_one(np.exp),
    "log": elementwise.log,
    "sin": _take_one(np.sin),
    "cos": _take_one(np.cos),
    "tanh": _take_one(np.tanh),
    "identity": _take_one(np.asarray),
    "clip": elementwise.clip,
    "relu": elementwise.relu,
    "relu6": elementwise.relu6,
    "leaky_relu": elementwise.leaky_relu,
    "prelu": elementwise.prelu,
    "thresholded_relu": elementwise.thresholded_relu,
    "elu": elementwise.elu,
    "sigmoid": elementwise.sigmoid,
    "sigmoid_hard": elementwise.sigmoid_hard,
    "silu": elementwise.silu,
    "softplus": elementwise.softplus,
    "softsign": elementwise.softsign,
    "scaled_tanh": elementwise.scaled_tanh,
    "erf": elementwise.erf,
    "gelu": elementwise.gelu,
    "cast": elementwise.cast,
    # shapes
    "concat": shapes.concat,
    "split": shapes.split,
    "stack": shapes.stack,
    "slice_by_index": shapes.slice_by_index,
    "slice_by_size": shapes.slice_by_size,
    "crop": shapes.crop,
    "pad": shapes.pad,
    "reshape": shapes.reshape,
    "transpose": shapes.transpose,
    "squeeze": shapes.squeeze,
    "expand_dims": shapes.expand_dims,
    "tile": shapes.tile,
    "gather": shapes.gather,
    "pixel_shuffle": shapes.pixel_shuffle,
    "upsample_nearest_neighbor": shapes.upsample_nearest_neighbor,
    "upsample_bilinear": shapes.upsample_bilinear,
}

"""Small .tflite models made by hand, operator by operator, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deploy_prune.formats.tflite_file import pack_model
from deploy_prune.formats.tflite_sparse_rules import ELEMENTWISE

OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "PAD": "PadOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "MEAN": "ReducerOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "LEAKY_RELU": "LeakyReluOptions",
}
"""Kind of operator -> the class of its options; others have none."""
VALID, SAME = schema.Padding.VALID, schema.Padding.SAME
Shape = tuple[int, ...]


class Tiny:
    """A model that grows by one operator per call. Not a value: the methods change it."""

    def __init__(self, side: int = 16, channels: int = 3, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.model.subgraphs = [], [], [self.graph]
        self.image = self.tensor((1, side, side, channels))

    def tensor(self, shape: Shape, numbers: np.ndarray | None = None) -> int:
        """A new tensor, constant if its numbers are given."""
        tensor = schema.TensorT()
        tensor.shape, tensor.name, tensor.buffer = np.array(shape, np.int32), f"t{len(self.graph.tensors)}", 0
        tensor.type = schema.TensorType.FLOAT32
        if numbers is not None:
            tensor.type = schema.TensorType.FLOAT32 if numbers.dtype == np.float32 else schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(numbers.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def weights(self, *shape: int, zeros: float = 0.0) -> int:
        """Random weights, of which such a share is 0."""
        numbers = self.random.standard_normal(shape).astype(np.float32)
        numbers[self.random.permuted(np.linspace(0, 1, numbers.size, endpoint=False)).reshape(shape) < zeros] = 0
        return self.tensor(shape, numbers)

    def integers(self, *numbers: Any) -> int:
        """A constant list or table of whole numbers."""
        array = np.array(numbers, np.int32)
        return self.tensor(array.shape, array)

    def shape(self, tensor: int) -> Shape:
        """The sizes of a tensor."""
        return tuple(map(int, self.graph.tensors[tensor].shape))

    def add(self, kind: str, inputs: list[int], shape: Shape, **options: Any) -> int:
        """An operator, and the tensor that it gives."""
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = vars(schema.BuiltinOperator)[kind]
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        if kind in OPTIONS:
            operator.builtinOptionsType = vars(schema.BuiltinOptions)[OPTIONS[kind]]
            operator.builtinOptions = vars(schema)[f"{OPTIONS[kind]}T"]()
            for name, value in options.items():
                assert name in vars(operator.builtinOptions)
                setattr(operator.builtinOptions, name, value)
        operator.inputs, operator.outputs = inputs, [self.tensor(shape)]
        self.graph.operators.append(operator)
        return operator.outputs[0]

    def pad(self, image: int, width: int = 1) -> int:
        """Zeros around height and width."""
        batch, height, across, channels = self.shape(image)
        pads = self.integers((0, 0), (width, width), (width, width), (0, 0))
        return self.add("PAD", [image, pads], (batch, height + 2 * width, across + 2 * width, channels))

    def conv(self, image: int, channels: int, kernel: int = 1, stride: int = 1, *, padding: int = VALID,
             zeros: float = 0.0, holes: int = 1) -> int:  # fmt: skip
        """A convolution with a bias."""
        _, side, _, read = self.shape(image)
        filters, bias = self.weights(channels, kernel, kernel, read, zeros=zeros), self.weights(channels)
        side = -(-(side if padding == SAME else side - holes * (kernel - 1)) // stride)
        options = {"strideH": stride, "strideW": stride, "padding": padding}
        options |= {"dilationHFactor": holes, "dilationWFactor": holes}
        return self.add("CONV_2D", [image, filters, bias], (1, side, side, channels), **options)

    def depthwise(self, image: int, kernel: int = 3, stride: int = 1, *, padding: int = SAME, times: int = 1) -> int:
        """A depthwise convolution with a bias."""
        _, side, _, read = self.shape(image)
        filters, bias = self.weights(1, kernel, kernel, read * times), self.weights(read * times)
        side = -(-(side if padding == SAME else side - kernel + 1) // stride)
        options = {"strideH": stride, "strideW": stride, "padding": padding, "depthMultiplier": times}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1}
        return self.add("DEPTHWISE_CONV_2D", [image, filters, bias], (1, side, side, read * times), **options)

    def mean(self, image: int, axes: tuple[int, ...] = (1, 2), *, keep: bool = False) -> int:
        """A mean over axes."""
        left = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape(image)))
        shape = left if keep else tuple(size for axis, size in enumerate(left) if axis not in axes)
        return self.add("MEAN", [image, self.integers(*axes)], shape, keepDims=keep)

    def dense(self, vector: int, classes: int, zeros: float = 0.0) -> int:
        """A fully connected layer with a bias."""
        filters, bias = self.weights(classes, self.shape(vector)[-1], zeros=zeros), self.weights(classes)
        return self.add("FULLY_CONNECTED", [vector, filters, bias], (1, classes))

    def finish(self, *outputs: int) -> Any:
        """The model, which gives these tensors."""
        self.graph.inputs, self.graph.outputs = [self.image], list(outputs)
        return self.model


Block = Callable[[Tiny, int], int]
"""Adds operators behind an image, and gives the image that comes out."""


def stem(tiny: Tiny, channels: int = 8) -> int:
    """The convolution that XNNPACK's sparse inference begins with."""
    return tiny.conv(tiny.pad(tiny.image), channels, 3, 2)


def mobile(zeros: float = 0.8, *, seed: int = 0) -> Any:
    """A network that XNNPACK computes sparsely, if enough is 0: a residual block, and one that halves the image."""
    tiny = Tiny(seed=seed)
    first = stem(tiny)
    inner = tiny.depthwise(tiny.conv(first, 24, zeros=zeros))
    block = tiny.add("ADD", [first, tiny.conv(inner, 8, zeros=zeros)], (1, 8, 8, 8))
    halved = tiny.depthwise(tiny.pad(tiny.conv(block, 40, zeros=zeros)), stride=2, padding=VALID)
    features = tiny.mean(tiny.conv(halved, 300, zeros=zeros))
    return tiny.finish(tiny.dense(tiny.add("RESHAPE", [features, tiny.integers(1, 300)], (1, 300)), 5))


def _squeeze(tiny: Tiny, image: int) -> int:
    """Squeeze and excitation: a mean that channels are weighed by."""
    weights = tiny.conv(tiny.mean(image, keep=True), 16, zeros=0.8)
    return tiny.add("MUL", [image, tiny.add("LOGISTIC", [weights], (1, 1, 1, 16))], tiny.shape(image))


def _resize(tiny: Tiny, image: int) -> int:
    _, side, _, channels = tiny.shape(image)
    return tiny.add("RESIZE_BILINEAR", [image, tiny.integers(2 * side, 2 * side)], (1, 2 * side, 2 * side, channels))


def _activate(kind: str) -> Block:
    options = {"alpha": 0.1} if kind == "LEAKY_RELU" else {}
    return lambda tiny, image: tiny.add(kind, [image], tiny.shape(image), **options)


BLOCKS: Mapping[str, Block] = {
    "a depthwise convolution": lambda tiny, image: tiny.depthwise(image),
    "of 5x5": lambda tiny, image: tiny.depthwise(image, 5),
    "that halves an image": lambda tiny, image: tiny.depthwise(tiny.pad(image), 3, 2, padding=VALID),
    "of 5x5 that halves it": lambda tiny, image: tiny.depthwise(tiny.pad(image, 2), 5, 2, padding=VALID),
    "a residual": lambda tiny, image: tiny.add("ADD", [image, tiny.depthwise(image)], tiny.shape(image)),
    "squeeze and excitation": _squeeze,
    "resizing": _resize,
    **{kind: _activate(kind) for kind in (*ELEMENTWISE, "LEAKY_RELU")},
}
"""What can stand between the convolutions of a network that XNNPACK computes sparsely."""


def around(block: Block, side: int = 16) -> Any:
    """A network of two 1x1 convolutions and a block between them."""
    tiny = Tiny(side)
    image = tiny.conv(stem(tiny), 16, zeros=0.8)
    return tiny.finish(tiny.mean(tiny.conv(block(tiny, image), 32, zeros=0.8)))


def run(model: Any, image: np.ndarray, *, delegated: bool = True) -> np.ndarray:
    """What LiteRT computes."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegated else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=pack_model(model), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

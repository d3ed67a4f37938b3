"""What XNNPACK asks of each operator before it computes part of a .tflite file channels first, which sparsity needs.

Its rules are those of `xnn_check_nchw_compatibility` (XNNPACK, src/subgraph.c), as far as they held in 2023 and hold
in 2026: a file that keeps them is sparse in old runtimes and in new ones. A file that breaks them may not only be as
slow as a dense one: where its zeros are many enough, XNNPACK gives wrong numbers on ARM without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deploy_prune.formats.tflite_graph import GraphView, Pads, find_code, read_integers, read_pads

HEIGHT, WIDTH, CHANNELS = 1, 2, 3
FUSED = 3
"""Activations that XNNPACK computes together with an operator have numbers up to this: RELU6."""
IMAGE_CHANNELS = 3
"""What the convolution that turns an image has to read."""


class Role(Enum):
    """What an operator does among those that are computed channels first."""

    ENTRANCE = "takes an image channels last, and gives it channels first"
    POINTWISE = "a 1x1 convolution, whose weights are skipped where they are 0"
    INSIDE = "channels first to channels first"
    MEAN = "takes an image channels first; what it gives is the same in both layouts"


@dataclass(frozen=True)
class Verdict:
    """An operator's role, or why it has none."""

    role: Role | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Looked:
    """A graph as XNNPACK sees it, in which a convolution does the padding that stands before it."""

    graph: GraphView
    schema: Any

    def name(self, operator: Any) -> str:
        """The name of an operator's kind."""
        code = find_code(self.graph.model, operator)
        return next((name for name, number in vars(self.schema.BuiltinOperator).items() if number == code), str(code))

    def label(self, operator: Any) -> str:
        """Kind, place in the file and shapes of an operator, for messages."""
        place = next(place for place, other in enumerate(self.graph.operators) if other is operator)
        shapes = [self.graph.shape(int(listed[0])) for listed in (operator.inputs, operator.outputs)]
        taken, given = ("x".join(map(str, shape)) for shape in shapes)
        return f"{self.name(operator)} {place} ({taken} -> {given})"

    def images(self, operator: Any) -> list[int]:
        """The inputs of an operator that are no constants; of a convolution, what is read before the padding."""
        listed, padding = self.graph.list_images(operator), self.find_padding(operator)
        return listed if padding is None else [int(padding.inputs[0]), *listed[1:]]

    def find_padding(self, operator: Any) -> Any:
        """The operator PAD that becomes part of a convolution; None where there is none."""
        code = self.schema.BuiltinOperator
        if find_code(self.graph.model, operator) not in {code.CONV_2D, code.DEPTHWISE_CONV_2D}:
            return None
        image = int(operator.inputs[0])
        padding = self.graph.makers.get(image)
        if padding is None or operator.builtinOptions.padding != self.schema.Padding.VALID or not self.is_pad(padding):
            return None
        return padding if len(self.graph.readers[image]) == 1 and image not in self.graph.outputs else None

    def is_pad(self, operator: Any) -> bool:
        """Whether an operator pads height and width alone, by constants."""
        if find_code(self.graph.model, operator) != self.schema.BuiltinOperator.PAD:
            return False
        pads = read_pads(self.graph.model, operator)
        return pads is not None and len(pads) == 4 and pads[0] == pads[CHANNELS] == (0, 0)

    def is_part(self, operator: Any) -> bool:
        """Whether an operator is padding that becomes part of the convolution behind it."""
        readers = self.graph.readers[int(operator.outputs[0])] if len(operator.outputs) == 1 else ()
        return len(readers) == 1 and self.find_padding(readers[0]) is operator

    def list_pads(self, operator: Any) -> tuple[Pads, Pads] | None:
        """(before, after) of height and width of a convolution; None: SAME, which depends on the image's size."""
        padding, options = self.find_padding(operator), operator.builtinOptions
        if padding is not None:
            pads = read_pads(self.graph.model, padding)
            assert pads
            return pads[HEIGHT], pads[WIDTH]
        if options.padding == self.schema.Padding.VALID:
            return (0, 0), (0, 0)
        if (options.strideH, options.strideW) != (1, 1):
            return None
        taps = self.graph.shape(int(operator.inputs[1]))[HEIGHT : WIDTH + 1]
        height, width = ((tap - 1) // 2 for tap in taps)
        return (height, taps[0] - 1 - height), (width, taps[1] - 1 - width)


def judge(looked: Looked, operator: Any) -> Verdict:
    """Say what an operator can be."""
    name = looked.name(operator)
    if name not in RULES:
        return Verdict(None, "XNNPACK does not compute this kind of operator channels first")
    if any(len(looked.graph.shape(image)) != 4 for image in looked.images(operator)):
        return Verdict(None, "what it reads is no image (batch, height, width, channels)")
    if name in ACTIVATING and operator.builtinOptions.fusedActivationFunction > FUSED:
        return Verdict(None, "XNNPACK has no such activation in it")
    if name in WEIGHED and len(looked.images(operator)) > 1:
        return Verdict(None, "its weights are not constant")
    return RULES[name](looked, operator)


def _judge_convolution(looked: Looked, operator: Any) -> Verdict:
    options = operator.builtinOptions
    height, width = looked.graph.shape(int(operator.inputs[1]))[HEIGHT : WIDTH + 1]
    strides = (int(options.strideH), int(options.strideW))
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        return Verdict(None, "it is dilated")
    if (height, width) == (1, 1):
        return _judge_pointwise(looked, operator, strides)
    if (height, width) != (3, 3):
        return Verdict(None, f"its kernel is {height}x{width}; only 1x1 ones, and a first one of 3x3, are computed so")
    if strides != (2, 2):
        return Verdict(None, f"a 3x3 convolution has to have a stride of 2, not {strides[0]}")
    if (channels := looked.graph.shape(int(operator.inputs[1]))[CHANNELS]) != IMAGE_CHANNELS:
        return Verdict(None, f"a 3x3 convolution has to read {IMAGE_CHANNELS} channels, not {channels}")
    return _check_pads(looked, operator, 1, Role.ENTRANCE)


def _judge_pointwise(looked: Looked, operator: Any, strides: tuple[int, int]) -> Verdict:
    if strides != (1, 1):
        return Verdict(None, f"a 1x1 convolution must not have a stride of {strides[0]}")
    channels = looked.graph.shape(int(operator.inputs[0]))[CHANNELS]
    if looked.graph.shape(int(operator.inputs[1]))[CHANNELS] != channels:
        return Verdict(None, "it has groups")
    return _check_pads(looked, operator, 0, Role.POINTWISE)


def _judge_depthwise(looked: Looked, operator: Any) -> Verdict:
    options = operator.builtinOptions
    _, height, width, channels = looked.graph.shape(int(operator.inputs[1]))
    strides = (int(options.strideH), int(options.strideW))
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        return Verdict(None, "it is dilated")
    if channels != looked.graph.shape(int(operator.inputs[0]))[CHANNELS]:
        return Verdict(None, "it gives several channels for each that it reads")
    if (height, width) not in {(3, 3), (5, 5)}:
        return Verdict(None, f"its kernel is {height}x{width}; only 3x3 and 5x5 are computed so")
    if strides not in {(1, 1), (2, 2)}:
        return Verdict(None, f"its stride is {strides[0]}x{strides[1]}; only 1 and 2 are computed so")
    return _check_pads(looked, operator, height // 2, Role.INSIDE)


def _check_pads(looked: Looked, operator: Any, wanted: int, role: Role) -> Verdict:
    """The role, if the convolution pads each side by what is wanted."""
    pads = looked.list_pads(operator)
    if pads == ((wanted, wanted), (wanted, wanted)):
        return Verdict(role)
    told = "as TensorFlow does (SAME) at a stride" if pads is None else f"by {pads[0]} and {pads[1]}"
    return Verdict(None, f"it pads {told}; each side has to be padded by {wanted}")


def _judge_pair(looked: Looked, operator: Any) -> Verdict:
    if len(looked.images(operator)) != len(operator.inputs):
        return Verdict(None, "one of what it reads is a constant")
    return Verdict(Role.INSIDE)


def _judge_mean(looked: Looked, operator: Any) -> Verdict:
    axes = read_integers(looked.graph.model, int(operator.inputs[1]))
    if axes is None or {int(axis) % 4 for axis in axes.ravel()} != {HEIGHT, WIDTH}:
        return Verdict(None, "it is no mean over height and width")
    return Verdict(Role.MEAN)


def _judge_resizing(looked: Looked, operator: Any) -> Verdict:
    _, height, width, _ = looked.graph.shape(int(operator.inputs[0]))
    return (
        Verdict(Role.INSIDE) if min(height, width) > 1 else Verdict(None, "what it resizes is one pixel high or wide")
    )


def _judge_leaking(looked: Looked, operator: Any) -> Verdict:  # noqa: ARG001  (one signature for all)
    return Verdict(Role.INSIDE) if operator.builtinOptions.alpha else Verdict(None, "XNNPACK takes no slope of 0")


WEIGHED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
ACTIVATING = WEIGHED | {"ADD", "MUL"}
"""Kinds of operator that may have an activation in them."""
ELEMENTWISE = (
    "ABS", "CEIL", "ELU", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1",
    "ROUND", "SQUARE",
)  # fmt: skip
RULES: Mapping[str, Callable[[Looked, Any], Verdict]] = {
    "CONV_2D": _judge_convolution,
    "DEPTHWISE_CONV_2D": _judge_depthwise,
    "ADD": _judge_pair,
    "MUL": _judge_pair,
    "MEAN": _judge_mean,
    "RESIZE_BILINEAR": _judge_resizing,
    "LEAKY_RELU": _judge_leaking,
    **dict.fromkeys(ELEMENTWISE, lambda *_: Verdict(Role.INSIDE)),
}
"""Kind of operator -> what it can be; no other kind is computed channels first."""

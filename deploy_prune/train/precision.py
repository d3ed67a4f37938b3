"""Which arithmetic and memory format trains a network fastest on this machine: measured, not assumed.

On CPUs bf16 autocast wins where the processor has the instructions, and loses badly where it has not; the better
memory format depends on the network (depthwise convolutions prefer channels last). Depthwise convolutions stay in
fp32: the backward pass of a bf16 one takes several times as long there.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deploy_prune.train.accelerator import wait_for
from deploy_prune.train.layout import choose_layout
from deploy_prune.train.outputs import list_tensors


@dataclass(frozen=True)
class Arithmetic:
    """How a network is computed while it is trained."""

    bf16: bool
    """Whether forward passes are computed in bf16 where autocast allows it."""
    channels_last: bool
    """Whether images and weights lie in memory with their channels last."""

    def place(self, module: nn.Module) -> nn.Module:
        """Lay the module's own weights out in this memory format."""
        return module.to(memory_format=self._format)

    def images(self, images: Tensor) -> Tensor:
        """Lay images (images, channels, height, width) out in this memory format."""
        return images.contiguous(memory_format=self._format)

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Give the context that the forward pass runs in."""
        if not self.bf16:
            return nullcontext()
        if device.type == "cpu":
            return _bf16_on_cpu()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


class _DepthwiseInFp32(TorchFunctionMode):
    """Within autocast: every convolution, a module's or a plain call's, goes through `_convolve`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        return (_convolve if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _convolve(input: Tensor, weight: Tensor, *rest: Any, **named: Any) -> Tensor:  # noqa: A002, conv2d's own name
    if weight.shape[1] > 1:
        return torch.conv2d(input, weight, *rest, **named)
    with torch.autocast("cpu", enabled=False):
        return torch.conv2d(input.float(), weight, *rest, **named).bfloat16()


@contextmanager
def _bf16_on_cpu() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16), _DepthwiseInFp32():
        yield


# One choice each for the precisions asked for by name, so that such a training is the same on every machine.
CHOICES = {
    "fp32": (Arithmetic(bf16=False, channels_last=False),),
    "bf16": (Arithmetic(bf16=True, channels_last=True),),
    "auto": tuple(Arithmetic(bf16, channels_last) for bf16 in (False, True) for channels_last in (False, True)),
}

WITH_BF16 = frozenset({"cpu", "cuda"})
"""Device types on which `auto` tries bf16; elsewhere only a recipe that names it is trained in bf16."""

TIMED_STEPS = 3
GIVE_UP_FACTOR = 2.5  # a choice that is this much slower in its warm-up is not timed further


def choose_fastest(
    module: nn.Module, images: Tensor, precision: str, *, clock: Callable[[], float] = time.perf_counter
) -> Arithmetic:
    """The choice with the shortest step (forward and backward) on copies of the module, which is not touched.

    `images` are a batch (images, channels, height, width) on the module's device. Channels last is no choice for a
    module that views what it reads as if it lay as usual.
    """
    device = images.device
    allowed = [each for each in CHOICES[precision] if device.type in WITH_BF16 or not each.bf16] or CHOICES["bf16"]
    layout = choose_layout(copy.deepcopy(module).eval(), images)
    choices = list(dict.fromkeys(replace(each, channels_last=each.channels_last and layout == torch.channels_last)
                                 for each in allowed))  # fmt: skip
    if len(choices) == 1:
        return choices[0]
    best, best_s = choices[0], math.inf
    for choice in choices:
        step = _make_stepper(choice.place(copy.deepcopy(module)), choice.images(images), choice)
        warm_up_s = _time_step(step, clock, device)
        if warm_up_s > GIVE_UP_FACTOR * best_s:
            continue
        shortest_s = min(_time_step(step, clock, device) for _ in range(TIMED_STEPS))
        if shortest_s < best_s:
            best, best_s = choice, shortest_s
    return best


def _make_stepper(module: nn.Module, images: Tensor, choice: Arithmetic) -> Callable[[], None]:
    module.train()

    def step() -> None:
        with choice.autocast(images.device):
            outputs = list_tensors(module(images))
            # Any loss will do: what is timed is the way through the network and back.
            loss = torch.stack([tensor.float().square().mean() for tensor in outputs if tensor.requires_grad]).sum()
        loss.backward()  # type: ignore[no-untyped-call]

    return step


def _time_step(step: Callable[[], None], clock: Callable[[], float], device: torch.device) -> float:
    wait_for(device)
    start = clock()
    step()
    wait_for(device)
    return clock() - start

"""The law that every cut obeys: the cut network computes what the dense one does with the removed units at zero.

Two things follow the widths by right and are held at what the zeroed network had: the statistics of norms that look
across channels, and numbers that a forward pass makes of its widths and multiplies by.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deploy_prune.errors import TraceError
from deploy_prune.graph.meta import name_of
from deploy_prune.graph.returned import find_tensors
from deploy_prune.graph.steps import SCALINGS
from deploy_prune.values import ChannelGraph, Keep, Network

IMAGES = 2
LIMIT = 1e-4
"""The relative error above which a cut network is another one; where a forward pass takes double precision, rounding
makes about 1e-12."""
SINGLE_LIMIT = 1e-3
"""The same where it takes single precision alone."""
NORMS = frozenset(["native_layer_norm", "native_group_norm"])


def check_law(network: Network, graph: ChannelGraph, keep: Keep, small: Network) -> float | None:
    """How far a cut network is from the law on two random images: max |cut - zeroed| / max |zeroed| over all outputs.

    None where nothing can be said: the network gives other answers each time, or none that are finite.

    Raises:
        TraceError: it computes something else.
    """
    zeroed = zero_removed(network, graph, keep)
    try:
        error, limit = measure_error(_in_double(zeroed), _in_double(small)), LIMIT
    except (RuntimeError, TypeError):  # of a forward pass that names its precision
        error, limit = measure_error(zeroed, small), SINGLE_LIMIT
    if error is None or error <= limit:
        return error
    if _answers_at_random(zeroed):
        return None
    message = f"the cut network computes something else than the dense one without these channels (error {error:.1e})"
    hint = f"its forward pass depends on its channels in a way that the trace of {network.address} does not show: "
    raise TraceError(message, hint=hint + "nothing was trained; please report the network")


def zero_removed(network: Network, graph: ChannelGraph, keep: Keep) -> Network:
    """A dense twin in which every parameter and statistic of a removed unit is zero."""
    module = copy.deepcopy(network.module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for group in graph.groups:
        dropped = np.setdiff1d(np.arange(group.width), np.asarray(keep.get(group.name, range(group.width))))
        for member in group.members if dropped.size else ():
            tensor = tensors[member.parameter]
            if tensor.is_floating_point():
                gone = torch.from_numpy(member.indices[dropped].reshape(-1)).to(tensor.device)
                tensor.detach().index_fill_(member.axis, gone, 0.0)
    return dataclasses.replace(network, module=module)


def measure_error(zeroed: Network, small: Network) -> float | None:
    """max |cut - zeroed| / max |zeroed| over all outputs; None where these are not finite."""
    watched = _Watch()
    expected = _run(zeroed, watched)
    actual = _run(small, _Hold(iter(watched.seen)))
    scale = max((float(each.abs().max()) for each in expected if each.numel()), default=0.0)
    if not np.isfinite(scale):
        return None
    pairs = zip(expected, actual, strict=True)
    error = max((float((one - other).abs().max()) for one, other in pairs if one.numel()), default=0.0)
    return error / scale if scale else error


def _run(network: Network, mode: TorchDispatchMode, *, seed: int = 0) -> list[Tensor]:
    """The outputs (2, ...) on random images in eval mode; what a forward pass draws at random begins with the seed."""
    weight = next(network.module.parameters())
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randn((IMAGES, *shape), generator=generator, dtype=torch.float64).to(weight)
        for shape in network.input_shapes
    ]
    was_training = network.module.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        with mode:
            returned = network.module.eval()(*images)
    network.module.train(was_training)
    return [each.double() for each in find_tensors(returned) if each.is_floating_point()]


def _in_double(network: Network) -> Network:
    module: nn.Module = copy.deepcopy(network.module).double()
    return dataclasses.replace(network, module=module)


def _answers_at_random(network: Network) -> bool:
    one, other = (_run(network, _Watch(), seed=seed) for seed in (1, 2))
    return not all(torch.equal(*pair) for pair in zip(one, other, strict=True))


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers, in the order of the calls, what follows the widths."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator as it is."""
        del types
        result, name = func(*args, **(kwargs or {})), name_of(func)
        if name in NORMS:
            self.seen.append(result[1:])
        elif name in SCALINGS:
            self.seen.append(args[1])
        return result


class _Hold(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives the same operators of the same forward pass what was remembered."""

    def __init__(self, seen: Iterator[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, with the statistics or the number that are held."""
        del types
        name = name_of(func)
        if name in NORMS:
            return _normalise(name, args, self._take())
        if name in SCALINGS:
            held = self._take()
            args = (args[0], held, *args[2:]) if _is_number(args[1]) and _is_number(held) else args
        return func(*args, **(kwargs or {}))

    def _take(self) -> Any:
        for held in self.seen:
            return held
        message = "the cut network runs other operators than the dense one"
        raise TraceError(message, hint="its forward pass decides by the number of channels; please report the network")


def _is_number(value: Any) -> bool:
    return not isinstance(value, Tensor) or value.dim() == 0


def _normalise(name: str, args: Any, held: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """`native_layer_norm` and `native_group_norm` with statistics that are given."""
    source, (mean, deviation) = args[0], held
    if name == "native_layer_norm":
        scale, shift = args[2:4]
        result = (source - mean) * deviation
    else:
        scale, shift = (None if each is None else each.reshape(-1, *[1] * (source.dim() - 2)) for each in args[1:3])
        parts = source.reshape(*mean.shape, -1)
        result = ((parts - mean[..., None]) * deviation[..., None]).reshape(source.shape)
    result = result if scale is None else result * scale
    return (result if shift is None else result + shift), mean, deviation

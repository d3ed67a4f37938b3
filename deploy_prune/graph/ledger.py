"""The ledger of one traced forward pass: which tensor carries which labels, and what the rules say about them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deploy_prune.graph.labels import LOCKED, NEUTRAL, align, along, compact, constant, varying
from deploy_prune.graph.recording import Lock, Recording, Slots, Tie


class Ledger:
    """What a rule may ask and say while a network is traced; everything said ends up in the recording."""

    def __init__(self, recording: Recording, constants: Mapping[str, Tensor], whole_groups: Mapping[str, bool]) -> None:
        self.recording = recording
        self.constants = constants
        self.whole_groups = whole_groups
        self.names = {id(tensor): name for name, tensor in recording.tensors.items()}
        self.where = "the start of forward"
        self._labels: dict[int, Tensor] = {}
        self._axes: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._roots: dict[int, int] = {}
        self._zeros: set[int] = set()

    # --- what the rules ask ---

    def labels(self, tensor: Tensor) -> Tensor:
        """The label of every element, in the tensor's shape. Content that nobody labelled cannot be removed."""
        known = self._labels.get(id(tensor))
        if known is not None:
            return known
        shape = tuple(tensor.shape)
        name = self.names.get(id(tensor))
        if name is None:
            return constant(LOCKED, shape)
        axes = [axis for axis, size in enumerate(shape) if size > 1]
        if len(axes) == 1:
            return along(self.slots(name, axes[0]), axes[0], shape)
        return constant(LOCKED if axes else NEUTRAL, shape)

    def peek(self, tensor: Tensor) -> Tensor | None:
        """The labels that an operator left on its result; None of parameters, and of what comes from outside."""
        return self._labels.get(id(tensor))

    def is_zero(self, tensor: Tensor) -> bool:
        """Whether a tensor is zero on every unit whose parameters and statistics are zero."""
        return id(tensor) in self._zeros

    def weight(self, tensor: Tensor) -> tuple[str, tuple[int, ...]] | None:
        """The parameter that this tensor is (or is a transposed view of) and its axes in the tensor's order."""
        if id(tensor) in self.names:
            return self.names[id(tensor)], tuple(range(tensor.dim()))
        return self._axes.get(id(tensor))

    def slots(self, parameter: str, axis: int) -> Tensor:
        """Labels of one axis of a parameter, made when first asked for; shape (size,)."""
        recording = self.recording
        if (parameter, axis) not in recording.slots:
            size = recording.tensors[parameter].shape[axis]
            recording.slots[parameter, axis] = Slots(parameter, axis, recording.labels_used, size)
            recording.labels_used += size
        known = recording.slots[parameter, axis]
        return torch.arange(known.first, known.first + known.size)

    # --- what the rules say ---

    def tie(self, left: Tensor, right: Tensor) -> None:
        """Say that labels are removed together or not at all, element by element; the two must broadcast."""
        if left.shape != right.shape:
            shape = torch.broadcast_shapes(left.shape, right.shape)  # type: ignore[no-untyped-call]
            left, right = align(left, shape)[0], align(right, shape)[0]
        axes = {*varying(left), *varying(right)}
        left, right = compact(left, tuple(axes)).reshape(-1), compact(right, tuple(axes)).reshape(-1)
        for one, other in ((left, right), (right, left)):
            if bool((one == LOCKED).any()):
                self.lock(other[one == LOCKED], f"tied to fixed content by {self.where}")
        both = (left >= 0) & (right >= 0) & (left != right)
        if bool(both.any()):
            self.recording.ties.append(Tie(left[both], right[both], self.where))

    def lock(self, labels: Tensor, reason: str = "") -> None:
        """Say that these labels may not be removed."""
        line = compact(labels).reshape(-1)
        real = line[line >= 0]
        if real.numel():
            self.recording.locks.append(Lock(real, reason or self.where))

    def pin(self, labels: Tensor) -> None:
        """Say that one channel acts on many: `y * y[:, :1]` would take another one once it is gone."""
        line = compact(labels).reshape(-1)
        real = line[line >= 0]
        if real.numel():
            self.recording.pins.append(Lock(real, f"picked and broadcast by {self.where}"))

    def note_transpose(self, tensor: Tensor, parameter: str, axes: tuple[int, ...]) -> None:
        """Remember that `tensor` is a view of a parameter with its axes in this order."""
        self._axes[id(tensor)] = (parameter, axes)

    def note_view(self, view: Tensor, base: Tensor) -> None:
        """Remember that `view` shares the memory of `base`."""
        self._roots[id(view)] = self._roots.setdefault(id(base), id(base))

    def note_zero(self, tensor: Tensor, *, zero: bool) -> None:
        """Remember whether a result is zero on every unit whose parameters and statistics are zero.

        What is written to memory that is shared is no zero for any that shares it.
        """
        if zero:
            self._zeros.add(id(tensor))
            return
        root = self._roots.get(id(tensor), id(tensor))
        self._zeros -= {each for each in self._zeros if self._roots.get(each, each) == root}

    def label(self, tensor: Tensor, labels: Tensor, *, in_place: bool) -> None:
        """Give a result its labels; the tensor must be kept alive, as it is known by its identity."""
        before = self._labels.get(id(tensor))
        if in_place and before is not None and id(tensor) in self._roots and not torch.equal(before, labels):
            # A write through a view changes its base, whose labels we cannot rewrite: nobody may cut either.
            root = self._roots[id(tensor)]
            for touched in (before, labels, self._labels.get(root, labels)):
                self.lock(touched, f"written through a view by {self.where}")
            if root in self._labels:
                self._labels[root] = constant(LOCKED, self._labels[root].shape)
            labels = constant(LOCKED, labels.shape)
        self._labels[id(tensor)] = labels

"""The contract of a task: what a network is for, and so what it is trained on, judged by and compared in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from deploy_prune import plugins
from deploy_prune.plugins import Kind
from deploy_prune.sources.data import has_labels, require_labels
from deploy_prune.values import BY_DATA, Data

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Answers:
    """Where a file and its network give the same answer to the same inputs."""

    same: np.ndarray
    """Whether the answer to each input is the same, or a tie; bool (inputs,)."""
    ties: np.ndarray
    """Whether the answer to each input is another one that the network hardly tells from its own; bool (inputs,)."""


class Task(Protocol):
    """What a network is for; the fields of the plugin are its options.

    Outputs are what the network's forward returned for some images, with all its tensors if it returns several.
    """

    needs_labels: ClassVar[bool]
    """Whether a batch's target are its labels, int64 (images,); otherwise it is what the dense network returned."""
    quality: ClassVar[str]
    """What the mean of `numbers` is called, such as "top-1"."""
    unanswered: ClassVar[str]
    """What the verification of a file says where `answers` finds no answers to compare."""

    def check(self, outputs: Any, images: int, data: Data) -> None:
        """Refuse a network that the task cannot train or judge, before any work is done.

        Args:
            outputs: what the network returned for some images.
            images: how many these were.
            data: the images of the run, whose labels have `data.classes`.

        Raises:
            ConfigError: names what the network returns, and what the task needs.
        """

    def numbers(self, outputs: Any, target: Any) -> Tensor:
        """How good the outputs are, one number per image, the higher, the better: (images,).

        Raises:
            ConfigError: the network does not return what the task is about.
        """

    def describe(self, outputs: Any) -> str:
        """Say how `numbers` judges a network that returns these outputs, for a report; empty: its name says it all."""

    def loss(self, outputs: Any, target: Any, *, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
        """The loss to train on where the user brings none: a scalar, the mean over the images.

        Args:
            outputs: what the network that is trained returned.
            target: what it should have been.
            smoothing: the share of a class's target that is spread over all classes.
            temperature: softens class scores that are compared with other scores.

        Raises:
            ConfigError: the network does not return what the task is about.
        """

    def answers(
        self, found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], tolerance: float
    ) -> Answers | None:
        """What an app reads out of a file's outputs, held against the network's; None: numbers alone are compared.

        Args:
            found: the outputs of the file, each (inputs, ...).
            expected: those of the network, finite and of the same shapes.
            tolerance: the share of the largest output by which numbers may differ.
        """


TASKS: Kind[Task] = Kind("tasks")


NONE = "none"
"""The task of images without labels."""
CLASSES = "classes"
"""The option of a task that wants to know how many classes the network scores."""


def choose_task(wish: str, data: Data, classes: int | None = None) -> Task:
    """The task of a name; `auto` is classification where the images have labels, and none where they have not.

    Args:
        wish: the name of a task, or `auto`.
        data: the images.
        classes: how many classes the network scores; None: it does not say.

    Raises:
        UnknownName: no such task.
        DataError: the task needs labels, and the images have none.
    """
    name = ("classification" if has_labels(data) else NONE) if wish == BY_DATA else wish
    takes_classes = classes is not None and CLASSES in plugins.list_options(TASKS, name)
    task = plugins.build(TASKS, name, {CLASSES: classes} if takes_classes else None)
    if task.needs_labels:
        require_labels(data, data.train, f"task '{name}'")
    return task

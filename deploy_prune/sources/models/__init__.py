"""The contract of a model source: `NAME` or `NAME:REST` on the command line builds a dense network."""

from __future__ import annotations

from typing import Protocol

from deploy_prune.plugins import Kind
from deploy_prune.values import Network


class ModelSource(Protocol):
    """Builds a network from the rest of its address; the fields of the plugin are its options."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """An untrained network (seed it outside). `classes` and `input_shape` None: the architecture's own.

        Raises:
            UnknownName: the source has no such model.
            ConfigError: the model cannot have that many classes or that input.
        """


MODELS: Kind[ModelSource] = Kind("models")

"""The caller's hooks, whose failures are told as theirs, with the line, and whose results are looked at."""

from __future__ import annotations

import dataclasses
import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from deploy_prune.errors import ConfigError, DeployPruneError
from deploy_prune.train.recipe import Hooks

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def guard_hooks(hooks: Hooks) -> Hooks:
    """The same hooks; what one of them raises, or returns in place of what it should, becomes a ConfigError."""
    return dataclasses.replace(
        hooks,
        loss=hooks.loss and _guard("loss", hooks.loss, _check_scalar),
        metric=hooks.metric and _guard("metric", hooks.metric, _check_tensor),
        step=hooks.step and _guard("step", hooks.step, _check_scalar),
        fit=hooks.fit and _guard("fit", hooks.fit),
        epoch=hooks.epoch and _guard("epoch", hooks.epoch),
    )


def name_hook(hook: Callable[..., Any]) -> str:
    """What a hook is called: a function's own name, else that of its class."""
    return hook.__name__ if isinstance(hook, FunctionType) else type(hook).__name__


def _guard(
    kind: str, hook: Callable[Arguments, Result], check: Callable[[str, Any], None] | None = None
) -> Callable[Arguments, Result]:
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            returned = hook(*args, **kwargs)
        except DeployPruneError:
            raise
        except Exception as error:
            message = f"your {kind} failed in {_find_line(hook, error)}: {type(error).__name__}: {error}"
            raise ConfigError(message, hint=f"{name_hook(hook)} is your own code: see that line") from error
        if check is not None:
            check(kind, returned)
        return returned

    functools.update_wrapper(guarded, hook)
    guarded.__name__ = name_hook(hook)
    return guarded


def _find_line(hook: Callable[..., Any], error: Exception) -> str:
    """The innermost line in the hook's own file, else the innermost line of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = hook.__code__.co_filename if isinstance(hook, FunctionType) else ""
    frame = next((each for each in reversed(frames) if each.filename == own), frames[-1])
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _check_tensor(kind: str, returned: Any) -> None:
    if not isinstance(returned, Tensor):
        message = f"your {kind} returned a {type(returned).__name__}"
        raise ConfigError(message, hint="return a tensor with one number per image")


def _check_scalar(kind: str, returned: Any) -> None:
    if not isinstance(returned, Tensor) or returned.numel() != 1:
        shape = f" of shape {tuple(returned.shape)}" if isinstance(returned, Tensor) else ""
        message = f"your {kind} returned a {type(returned).__name__}{shape}"
        raise ConfigError(message, hint="return the loss, a tensor of one number")

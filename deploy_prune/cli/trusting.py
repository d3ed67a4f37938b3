"""`--trust-code`, for the verbs that build networks: which Python files a command line lets be executed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from deploy_prune.trust import trust_code, trust_only

Verb = Callable[..., "int | None"]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Execute Python files that a run folder names as well: read them first.")
]


def add_trust(verb: Verb) -> Verb:
    """The verb with `--trust-code`; without it only those files are executed that its own flags name."""

    @functools.wraps(verb)
    def command(*, trust_records: bool, **given: Any) -> int | None:
        with trust_code() if trust_records else trust_only(each for each in given.values() if isinstance(each, str)):
            return verb(**given)

    signature = inspect.signature(verb, eval_str=True)
    own = inspect.Parameter("trust_records", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=TrustCode)
    vars(command)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), own])
    return command

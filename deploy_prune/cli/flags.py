"""Flags that stand for fields of a configuration: their types, bounds and help are the fields' own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from deploy_prune.cli.options import parse_image_shape, parse_integers, parse_key_values, parse_names

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Verb = Callable[..., "int | None"]


@dataclass(frozen=True)
class Flag:
    """A field of the configuration that can be set on the command line."""

    field: str
    metavar: str | None = None
    """What stands for the value in help; None: what typer says of its type."""
    more: str = ""
    """What help says after the field's own note."""
    spelled: str = ""
    """How it is written, where that is not the field's name with dashes."""

    @property
    def name(self) -> str:
        """The flag as it is written, such as `--input-shape`."""
        return self.spelled or f"--{self.field.replace('_', '-')}"


@dataclass(frozen=True)
class Form:
    """How a kind of value is written on a command line."""

    kind: Any
    """What typer makes of the text; None where the flag was not given."""
    read: Callable[[str, Any], Any] = lambda flag, given: given  # noqa: ARG005
    """(flag, what typer made of it) -> the field's value; None where the flag was not given."""


TEXT = Form(str | None)
SWITCH = Form(bool | None)
FORMS: Mapping[Any, Form] = {
    bool: SWITCH,
    int: Form(int | None),
    Path: Form(Path | None),
    tuple[str, ...]: Form(str | None, lambda _, text: parse_names(text)),
    tuple[int, ...]: Form(str | None, parse_integers),
    tuple[int, int, int]: Form(str | None, lambda _, text: parse_image_shape(text)),
    dict[str, Any]: Form(list[str] | None, lambda flag, texts: parse_key_values(flag, texts) or None),
}
"""Type of a field, its None left out -> its form; all others are taken as they are written."""


def add_flags(verb: Verb, flags: Sequence[Flag]) -> Verb:
    """The verb with these flags in place of its `**settings`; without any, the configuration is not loaded."""

    @functools.wraps(verb)
    def command(**given: Any) -> int | None:
        return verb(**given)

    signature = inspect.signature(verb, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    vars(command)["__signature__"] = signature.replace(parameters=[*_make_parameters(flags), *own])
    return command


def read_flags(flags: Sequence[Flag], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the configuration that flags set, with their values; a flag that was not given sets none.

    Args:
        flags: all that there are.
        given: field -> what typer made of its flag.

    Raises:
        ConfigError: a text that is no list of names, of integers or of `KEY=VALUE`; names the flag.
    """
    fields = _list_fields()
    values = {flag.field: _find_form(fields[flag.field]).read(flag.name, given[flag.field]) for flag in flags}
    return {key: value for key, value in values.items() if value is not None}


def _make_parameters(flags: Sequence[Flag]) -> list[inspect.Parameter]:
    fields = _list_fields() if flags else {}
    return [_make_parameter(flag, fields[flag.field]) for flag in flags]


def _make_parameter(flag: Flag, field: FieldInfo) -> inspect.Parameter:
    form, text = _find_form(field), f"{field.description} {flag.more}".strip()
    names = f"{flag.name}/--no-{flag.name.removeprefix('--')}" if form is SWITCH else flag.name
    option = typer.Option(names, metavar=flag.metavar, help=text, min=_find_least(field), show_default=False)
    return inspect.Parameter(
        flag.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[form.kind, option],
    )


def _find_form(field: FieldInfo) -> Form:
    parts = [part for part in get_args(field.annotation) if part is not NoneType]
    is_optional = NoneType in get_args(field.annotation)
    return FORMS.get(parts[0] if is_optional else field.annotation, TEXT)


def _find_least(field: FieldInfo) -> int | None:
    from annotated_types import Ge

    return next((int(str(bound.ge)) for bound in field.metadata if isinstance(bound, Ge)), None)


def _list_fields() -> Mapping[str, FieldInfo]:
    from deploy_prune.pipeline.config import RunConfig

    return RunConfig.model_fields

"""Options that take one value are given once: a second would take the first one's place without a word."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption


class Once(TyperCommand):
    """A command that refuses to be given an option of one value twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the command line apart.

        Raises:
            UsageError: it is no command line of this command, or has an option of one value twice.
        """
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(order).items():
            if isinstance(parameter, TyperOption) and times > 1 and not (parameter.multiple or parameter.is_flag):
                lists = "; names are separated by commas" if parameter.metavar == "NAMES" else ""
                ctx.fail(f"{parameter.opts[0]} is given {times} times, and takes one value{lists}")
        return super().parse_args(ctx, args)

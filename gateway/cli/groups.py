"""Command groups whose bare name lists: `signoff history`, `signoff tools`."""

from __future__ import annotations

from typing import Any

import typer
import typer.core


class ListFirst(typer.core.TyperGroup):
    """A group whose bare name, with or without options, means its `list`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's own context
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


class InOurWords(typer.core.TyperGroup):
    """The whole command: an option or argument that cannot be used is told in plain words, not in
    those of the library that checks it.
    """

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own context
        try:
            return super().invoke(ctx)
        except typer.BadParameter as bad:
            cause = bad.__cause__
            errors = getattr(cause, "errors", None)
            if callable(errors):
                from gateway.cli import wording

                (first, *_) = errors()
                bad.message = wording.own(first) or f"it {wording.found(first)}."
            raise

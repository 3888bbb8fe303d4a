"""Command groups whose bare name lists: `signoff history`, `signoff tools`."""

from __future__ import annotations

import typer
import typer.core


class ListFirst(typer.core.TyperGroup):
    """A group whose bare name, with or without options, means its `list`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's own context
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)

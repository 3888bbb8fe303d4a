"""What a person agrees to on the command line before they are shown it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli import show
from gateway.cli.exits import Exit, Stop

_HASH = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class Consent:
    """What is agreed to beforehand: the definition that the hash names, and no other."""

    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Only together with --hash.")] = (
        False
    )
    hash: Annotated[
        str, typer.Option("--hash", help="The beginning (12 or more) of the new sha256.")
    ] = ""

    def check(self) -> None:
        """Insist that it names what it agrees to.

        Raises:
            Stop: it does not.
        """
        if self.yes and not _HASH.fullmatch(self.hash.lower()):
            raise Stop(Exit.USAGE, "--yes goes only with --hash: what no one saw is not accepted.")

    def names(self, digest: str) -> bool:
        """Whether this is the definition that is meant, if one is named at all."""
        return digest.startswith(self.hash.lower())

    def can_ask(self, digest: str) -> None:
        """What was just shown can be asked about, or was said beforehand.

        Raises:
            Stop: neither.
        """
        if not self.yes and not show.interactive():
            raise Stop(Exit.USAGE, f"No one can be asked here: write --yes --hash {digest}")

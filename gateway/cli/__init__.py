"""The `signoff` command. Thin: it reads options, calls the same functions the page calls, prints.

Heavy imports stand inside the commands, so that `signoff --help` answers at once.
"""

from gateway.cli.main import main

__all__ = ["main"]

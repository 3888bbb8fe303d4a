"""The settings as the command reads them: what is wrong with them, and where each came from."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.settings import Settings

FILE = Path("signoff.toml")
_PREFIX = "SIGNOFF_"
_QUOTED = re.compile(r'"(\w+)"')


def settings(*, file: bool = True, **given: Any) -> Settings:
    """The settings; without `file`, signoff.toml of this folder says nothing.

    Raises:
        Stop: they are not usable; the text says which and why, values left out.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gateway.settings import NotInFile, Settings, WithoutFile

    if not file and FILE.exists():
        print(f"{FILE.absolute()} is not read here: set SIGNOFF_… instead.", file=sys.stderr)
    try:
        return Settings(**given) if file else WithoutFile(**given)
    except NotInFile as error:
        raise Stop(Exit.INVALID, str(error)) from error
    except ValidationError as invalid:
        lines = [_told(error) for error in invalid.errors(include_input=False, include_url=False)]
        raise Stop(Exit.INVALID, "\n".join(lines)) from invalid
    except SettingsError as invalid:
        raise Stop(Exit.INVALID, _unparsed(str(invalid))) from invalid
    except tomllib.TOMLDecodeError as invalid:
        raise Stop(Exit.INVALID, f"{FILE} is not TOML: {invalid}") from invalid
    except OSError as error:
        raise Stop(Exit.INVALID, f"{FILE} cannot be read: {error.strerror}") from error


def trusted(settings: Settings) -> frozenset[str]:
    """The servers whose tools' annotations are believed, as servers.json says; none without it."""
    from gateway.servers import load_servers

    try:
        text = settings.servers.read_bytes()
    except OSError:
        return frozenset()
    return load_servers(text, os.environ).trusted


def said_by_file(names: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The settings that signoff.toml of this folder makes, less those that the environment does.

    Raises:
        OSError, tomllib.TOMLDecodeError: it cannot be read.
    """
    if not FILE.exists():
        return ()
    environ = {name.upper() for name in (os.environ if names is None else names)}
    written = tomllib.loads(FILE.read_text("utf-8"))
    return tuple(name for name in written if f"{_PREFIX}{name.upper()}" not in environ)


def _told(error: Mapping[str, Any]) -> str:
    """One thing that is wrong: the setting, what, and what to write; no value."""
    from gateway.cli import wording

    place = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"There is no setting {'.'.join(map(str, place))} ({FILE})."
    ours = wording.own(error)
    if ours:
        return f"{_name(place[0])}: {ours}" if place else ours
    found = wording.found(error)
    inner = ".".join(map(str, place[1:]))
    if inner:
        return f"{_name(place[0])}: {inner} {found}."
    example = f": write {_example(str(place[0]))}" if "list" in found or "table" in found else ""
    return f"{_name(place[0])}: it {found}{example}."


def _unparsed(told: str) -> str:
    """A list or table that is not JSON. What the library says of it names the field, in quotes."""
    field = _QUOTED.search(told)
    if field is None:
        return "A setting cannot be read: write lists and tables as JSON."
    return f"{_name(field[1])}: it cannot be read; write it as JSON: {_example(field[1])}."


def _example(field: str) -> str:
    from gateway.settings import Settings

    known = Settings.model_fields.get(field)
    return '{"…": "…"}' if known is not None and "dict" in str(known.annotation) else '["…"]'


def _name(field: int | str) -> str:
    return f"{_PREFIX}{str(field).upper()}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as doctor shows it; a secret's value is only said to be set."""

    name: str
    value: str
    source: str


def sources(configured: Settings, environ: Mapping[str, str] | None = None) -> list[Setting]:
    """Every setting, its value and where it came from."""
    from pydantic import SecretStr

    environ = os.environ if environ is None else environ
    written = tomllib.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    names = {name.upper() for name in environ}
    found = []
    for name, field in type(configured).model_fields.items():
        value = getattr(configured, name)
        secret = isinstance(value, SecretStr) or "SecretStr" in str(field.annotation)
        shown = str(value) if value is not None else "not set"
        if secret and value:
            shown = "set, not shown"
        variable = f"{_PREFIX}{name.upper()}"
        source = "default"
        if variable in names:
            source = variable
        elif name in written:
            source = str(FILE)
        found.append(Setting(name, shown, source))
    return found

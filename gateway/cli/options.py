"""Options that belong together as one value: a dataclass whose fields they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer reads it: in the place of a dataclass, its fields as options."""
    signature = inspect.signature(command, eval_str=True)
    values: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
    }
    options: list[Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in values:
            options += inspect.signature(values[name], eval_str=True).parameters.values()
        else:
            options.append(parameter)

    @wraps(command)
    def run(**given: Any) -> None:
        for name, kind in values.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    named = [option.replace(kind=Parameter.KEYWORD_ONLY) for option in options]
    run.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run

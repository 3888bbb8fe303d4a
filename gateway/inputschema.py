"""Arguments against a tool's own input schema, for calls that a person has edited. Pure.

What agents send is their server's to check; what a reviewer writes is checked here first, so that
nobody approves a call that cannot run. Nothing is fetched, and patterns match in linear time.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, NoReturn

import jsonschema_rs

from approvals.fields import text

_SHOWN: Final = 3  # faults told at once
_LONGEST: Final = 300  # characters of one of them; the schema is the server's text


def fault(schema: Any, arguments: Any) -> str | None:
    """Why the arguments do not fit the schema, for the reviewer; None if they fit.

    A schema that cannot be read fits nothing. No value is repeated: it may be a secret.
    """
    if schema is None:
        return None
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            retriever=_never,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
        faults = list(islice(validator.iter_errors(arguments), _SHOWN))
    except ValueError:  # also a schema that is none, and one that refers to another place
        return "The tool's schema cannot be read, so no change can be checked against it."
    told = (f"{_place(one)}: {one.message[:_LONGEST]}" for one in faults)
    return f"It does not fit the tool's schema. {'; '.join(told)}" if faults else None


def _place(error: jsonschema_rs.ValidationError) -> str:
    return text(tuple(error.instance_path)).removeprefix("args.")


def _never(uri: str) -> NoReturn:
    raise ValueError(uri)

"""The bytes of a policy to plain JSON values, strictly. Pure; knows nothing of policies.

Refuses what readers disagree about: duplicate keys, NaN, numbers that lose digits, bad UTF-8, a
byte order mark. Numbers come out as int or as a float whose shortest text is what was written.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from gateway.policy.problems import Report, shown, step

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64


class _Object(dict[str, Any]):
    """An object that remembers which of its keys were written twice."""

    twice: tuple[str, ...] = ()


class _Number:
    """A number with more digits than it can carry."""

    def __init__(self, text: str) -> None:
        self.text = text


def read(text: bytes, report: Report) -> Any:
    """The decoded document, or None with the reasons in `report`."""
    if len(text) > MAX_BYTES:
        report.error("", f"The document is larger than {MAX_BYTES} bytes.", "Write less.")
        return None
    try:
        decoded = text.decode("utf-8")
        value = json.loads(
            decoded,
            object_pairs_hook=_pairs,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_refuse,
        )
    except UnicodeDecodeError as error:
        report.error("", f"Byte {error.start} is not UTF-8.", "Save the file as UTF-8.")
        return None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        report.error("", f"Not JSON: {error.msg} at {where}.", "Correct the syntax there.")
        return None
    except ValueError as error:  # what _refuse raises
        report.error("", str(error), "Write a finite number.")
        return None
    except RecursionError:
        report.error("", "Nested too deeply.", f"Nest at most {MAX_DEPTH} levels.")
        return None
    return _clean(value, "", 0, report)


def _pairs(pairs: list[tuple[str, Any]]) -> _Object:
    value = _Object(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        value.twice = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return value


def _float(text: str) -> float | _Number:
    number = float(text)
    try:
        exact = Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal holds
        exact = False
    return number if exact else _Number(text)


def _int(text: str) -> int | _Number:
    return int(text) if len(text) <= 1000 else _Number(text)  # noqa: PLR2004  # a limit, not a word


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON.")


def _clean(value: Any, pointer: str, depth: int, report: Report) -> Any:
    """The value as plain dicts and lists; what cannot stand becomes None and a problem."""
    if depth > MAX_DEPTH:
        report.error(pointer, "Nested too deeply.", f"Nest at most {MAX_DEPTH} levels.")
        return None
    match value:
        case _Object():
            for key in value.twice:
                report.error(
                    step(pointer, key), f"The key {shown(key)} is written twice.", "Keep one."
                )
            members: dict[str, Any] = {}
            for key, member in value.items():
                _scalar(key, pointer, report)
                members[key] = _clean(member, step(pointer, key), depth + 1, report)
            return members
        case list():
            return [
                _clean(member, step(pointer, index), depth + 1, report)
                for index, member in enumerate(value)
            ]
        case _:
            return _scalar(value, pointer, report)


def _scalar(value: Any, pointer: str, report: Report) -> Any:
    if isinstance(value, _Number):
        what = f"The number {shown(value.text, 40)} has more digits than can be compared exactly."
        report.error(pointer, what, "Write it with at most 15 digits.")
        return None
    if isinstance(value, str) and "\x00" in value:
        report.error(pointer, "The text holds a NUL.", "Remove the \\u0000.")
        return ""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            report.error(pointer, "The text has half a character in it.", "Remove the \\ud8xx.")
            return ""
    return value

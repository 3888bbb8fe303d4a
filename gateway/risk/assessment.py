"""The words of a risk assessment. Pure values; no rule stands here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from approvals.model import Risk

Confidence = Literal["low", "medium", "high"]


class Category(StrEnum):
    """What kind of thing the tool does. Severity is in `severity`, not in the order here."""

    READ = "Read"  # looks, and changes nothing that lasts
    OTHER = "Other"  # the definition does not say
    WRITE = "Write"  # creates or changes something, and it can be put right
    EXECUTE = "Execute"  # runs code, commands or jobs, or acts in a program's interface
    DESTRUCTIVE = "Destructive"  # takes data, access or a running thing away
    FINANCIAL = "Financial"  # moves money or what is traded for it


_SEVERITY = tuple(Category)


def severity(category: Category) -> int:
    """0 (Read) to 5 (Financial): the most severe evidence decides."""
    return _SEVERITY.index(category)


class Signal(StrEnum):
    """What in a definition raises the risk or is worth a reviewer's look."""

    FILE_PATH = "file_path"  # takes a path of a file or folder
    FREEFORM_CODE = "freeform_code"  # takes code, a command or a query language
    CREDENTIAL = "credential"  # takes or returns a secret
    BULK = "bulk"  # acts on many things at once
    EXTERNAL_RECIPIENT = "external_recipient"  # reaches other people
    MANY_PARAMETERS = "many_parameters"  # more than 12: hard to review
    OPEN_WORLD = "open_world"  # says so, or takes a URL
    AMOUNT = "amount"  # takes an amount of money or of an asset
    IRREVERSIBLE = "irreversible"  # says that it cannot be undone
    NO_DESCRIPTION = "no_description"
    DESTRUCTIVE_HINT = "destructive_hint"  # annotations.destructiveHint is true
    WRITE_HINT = "write_hint"  # annotations.readOnlyHint is false
    HABIT = "habit"  # destructiveHint is true, as it is for most tools of this server
    CONTRADICTION = "contradiction"  # annotated read-only, but its words say otherwise
    HIDDEN_CHARACTERS = "hidden_characters"  # control, bidi, zero-width or tag characters
    MALFORMED = "malformed"  # parts of the definition are of the wrong type or size


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One tool's class; `rationale` is one sentence of our own words, never of the server's."""

    category: Category
    risk: Risk
    confidence: Confidence
    rationale: str
    signals: tuple[Signal, ...] = ()
    settled: bool = False  # a person said the class

"""Signals: what in the parameters and texts raises a tool's risk, whatever its verb. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.risk import words as w
from gateway.risk.assessment import Signal
from gateway.risk.definition import Facts, Parameter
from gateway.risk.text import words

MANY = 12


def signals(facts: Facts) -> frozenset[Signal]:
    """Every signal the definition shows."""
    return frozenset(_of_parameters(facts)) | frozenset(_of_texts(facts))


def _of_parameters(facts: Facts) -> Iterator[Signal]:
    names = {p.name for p in facts.parameters}
    for p in facts.parameters:
        if takes_code(p, facts.description):
            yield Signal.FREEFORM_CODE
        if p.words and (p.words[-1] in w.PATH_WORDS or p.name in w.PATH_WORDS):
            yield Signal.FILE_PATH
        if is_secret(p.words):
            yield Signal.CREDENTIAL
        if p.name in w.RECIPIENT_WORDS or (p.words and p.words[-1] in {"recipient", "recipients"}):
            yield Signal.EXTERNAL_RECIPIENT
        if p.words and p.words[-1] in w.URL_WORDS:
            yield Signal.OPEN_WORLD
        if p.many and p.name.endswith(w.PLURAL_PARAMETER):
            yield Signal.BULK
    if names & w.AMOUNT_WORDS:
        yield Signal.AMOUNT
    if len(facts.parameters) > MANY:
        yield Signal.MANY_PARAMETERS


def _of_texts(facts: Facts) -> Iterator[Signal]:
    name = set(facts.name)
    shown = {
        Signal.NO_DESCRIPTION: not facts.description,
        Signal.BULK: bool(w.BULK_WORDS & name),
        Signal.EXTERNAL_RECIPIENT: bool(w.REACHING & name),
        Signal.CREDENTIAL: is_secret(facts.name),
        Signal.IRREVERSIBLE: says_irreversible(facts.description),
        Signal.DESTRUCTIVE_HINT: facts.destructive is True,
        Signal.WRITE_HINT: facts.read_only is False,
        Signal.OPEN_WORLD: facts.open_world is True,
        Signal.HIDDEN_CHARACTERS: facts.hidden,
        Signal.MALFORMED: facts.malformed,
    }
    yield from (signal for signal, present in shown.items() if present)


def takes_code(parameter: Parameter, description: str) -> bool:
    """A parameter that is code, a command, or a query in a language that can do more than find."""
    if parameter.name in w.CODE_PARAMETERS or parameter.name.removesuffix("s") in w.CODE_PARAMETERS:
        return not parameter.choices
    if parameter.words and parameter.words[-1] in {"query", "pipeline", "function"}:
        told = set(words(parameter.about)) | {word.lower() for word in words(description)}
        return bool(told & w.QUERY_LANGUAGES) or "javascript" in told
    return False


def is_secret(name: tuple[str, ...]) -> bool:
    """`api_key`, `password`, `accessToken`; not `page_token`, `next_sync_token`."""
    for first, second in zip(("", *name), name, strict=False):
        if second.removesuffix("s") in w.SECRET_WORDS and first not in w.NOT_SECRET:
            return True
        if (first, second.removesuffix("s")) in w.SECRET_PAIRS:
            return True
    return False


def says_irreversible(description: str) -> bool:
    """One of the phrases of IRREVERSIBLE_PHRASES, not negated in the 24 characters before it."""
    text = description.lower()
    for phrase in w.IRREVERSIBLE_PHRASES:
        at = text.find(phrase)
        if at >= 0 and not any(n in text[max(0, at - 24) : at] for n in w.NEGATIONS):
            return True
    return False

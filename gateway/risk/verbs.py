"""Finds the verb of a name or of a sentence, and what it acts on. Pure.

A name is read in snake, camel, kebab and dotted form; a sentence by the verbs that lead it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.risk import words as w
from gateway.risk.assessment import Category, severity
from gateway.risk.text import bases, first_sentences

_TOKEN = re.compile(r"[A-Za-z][A-Za-z'-]*|[,/&]")
_JOINERS = frozenset([",", "/", "&", "and", "or", "then"])
_WORD_JOINERS = frozenset({"and", "or", "then"})
_PAIRED = frozenset({"drop"})  # "drag and drop" drops nothing
_LOOKED_AT = 3
_SEVERE = severity(Category.DESTRUCTIVE)


@dataclass(frozen=True, slots=True)
class Act:
    """A verb, the class of its plain use, and the words it acts on."""

    verb: str
    category: Category
    objects: tuple[str, ...] = ()
    firm: bool = True  # False: the word may have been a noun


def act_of_name(name: tuple[str, ...]) -> Act | None:
    """The most severe verb the name leads with: `get_refund` reads, `read_and_delete` deletes."""
    spot = _spot(name)
    if spot is None:
        return None
    acts = [_act(name, spot)]
    for at, word in enumerate(name[:-1]):
        if word in {"and", "or"} and at > spot and name[at + 1] in w.VERBS:
            acts.append(_act(name, at + 1))
    return max(acts, key=lambda act: severity(act.category))


def _act(name: tuple[str, ...], at: int) -> Act:
    objects = name[at + 1 :] or name[:at]
    firm = at == 0 or name[at] not in w.WEAK
    return Act(name[at], w.VERBS[name[at]], tuple(objects), firm)


def _spot(name: tuple[str, ...]) -> int | None:
    """Where the verb stands: the first firm one, else a weak one at the start or at the end."""
    first = next((i for i, word in enumerate(name) if word not in w.SKIPPED), None)
    if first is None:
        return None
    firm = [i for i, word in enumerate(name) if word in w.VERBS and word not in w.WEAK]
    if name[first] in w.VERBS and (name[first] not in w.WEAK or not firm):
        return first
    if firm:
        return firm[0]
    tentative = [i for i, word in enumerate(name) if word in w.TENTATIVE]
    return tentative[-1] if tentative else None


def act_of_sentence(description: str) -> Act | None:
    """The most severe of the verbs that lead it: "Create, update or delete …".

    The first sentence decides; the next two are asked only while none has a leading verb.
    """
    for sentence in first_sentences(description):
        tokens = [token.lower() for token in _TOKEN.findall(sentence)]
        lead = _lead(tokens)
        if lead is not None:
            return max(_led(tokens, lead), key=lambda act: severity(act.category))
    return None


def _led(tokens: list[str], lead: int) -> list[Act]:
    """The leading verb, those joined to it, and severe ones after a later "and", "or", "then"."""
    acts = []
    at, joined = lead, True
    while at < len(tokens):
        verb = _verb(tokens[at]) if joined else None
        if verb is not None:
            acts.append(_sentence_act(tokens, at, verb))
        elif tokens[at] not in _JOINERS:
            break
        joined = tokens[at] in _JOINERS
        at += 1
    return acts + [a for a in _later(tokens, at) if severity(a.category) >= _SEVERE]


def _lead(tokens: list[str]) -> int | None:
    """The first word that is a verb among the first few that carry meaning."""
    looked = 0
    for at, token in enumerate(tokens):
        if token in w.SKIPPED or token in _JOINERS or token.endswith("ly"):
            continue
        verb = _verb(token)
        if verb is not None and (looked == 0 or verb not in w.WEAK):
            return at
        looked += 1
        if looked >= _LOOKED_AT:
            return None
    return None


def _later(tokens: list[str], start: int) -> list[Act]:
    """Firm verbs right after "and", "or", "then" later in the sentence."""
    found = []
    for at in range(start, len(tokens) - 1):
        pair = tokens[at] in _WORD_JOINERS and tokens[at + 1] not in _PAIRED
        verb = _verb(tokens[at + 1]) if pair else None
        if verb is not None and verb not in w.WEAK:
            found.append(_sentence_act(tokens, at + 1, verb))
    return found


def _sentence_act(tokens: list[str], at: int, verb: str) -> Act:
    objects = tuple(t for t in tokens[at + 1 : at + 9] if t not in _JOINERS)
    category = w.VERBS[verb]
    if verb in w.GENERIC:
        meant = [v for t in objects[:5] if (v := _verb(t)) is not None and t not in w.GENERIC]
        if any(w.VERBS[v] is Category.READ for v in meant) or "read-only" in objects:
            category = Category.READ
    return Act(verb, category, objects)


def _verb(token: str) -> str | None:
    return next((base for base in bases(token) if base in w.VERBS), None)

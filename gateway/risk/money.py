"""Whether an act moves money: a verb that moves, on what moves, beside words that tell. Pure.

A noun alone never does: `get_refund`, `list_subscription_plans` and `pricing` move nothing.
"""

from __future__ import annotations

from gateway.risk import words as w
from gateway.risk.assessment import Category
from gateway.risk.definition import Facts
from gateway.risk.text import words
from gateway.risk.verbs import Act

_CERTAIN = frozenset({("place", "order"), ("submit", "order"), ("exercise", "option")})
"""Pairs that trade whatever stands beside them."""


def moves_money(act: Act, facts: Facts) -> str | None:
    """The noun (or parameter) that makes the act Financial, else None."""
    told = frozenset(facts.name) | {p.name for p in facts.parameters}
    told |= frozenset(words(facts.description)[:60])
    objects = tuple(_single(word) for word in act.objects)
    if act.category is Category.FINANCIAL:
        return _paid(act, objects, told)
    if act.category is Category.READ and (act.verb not in w.MOVING or not act.firm):
        return None
    if act.verb in w.MOVING:
        found = _money(objects) or _order(act, objects, told)
        if found is not None:
            return found
    if act.category is Category.READ:
        return None
    for noun in objects:
        if act.verb in w.BILLED.get(noun, ()) and told & w.BILLING:
            return noun
    return _amount(facts)


def _paid(act: Act, objects: tuple[str, ...], told: frozenset[str]) -> str | None:
    """`refund`, `buy` and the like; the ones that are often nouns need a market beside them."""
    if objects and set(objects[:2]) & w.NOT_MONEY:
        return None
    if act.verb in w.WEAK and not act.firm and not told & w.MARKET:
        return None
    return act.verb


def _money(objects: tuple[str, ...]) -> str | None:
    for noun, after in zip(objects, (*objects[1:], ""), strict=False):
        if noun in w.MONEY and after not in w.NOT_MONEY:
            return noun
    return None


def _order(act: Act, objects: tuple[str, ...], told: frozenset[str]) -> str | None:
    traded = next((o for o in objects[:4] if o in w.TRADED), None)
    if traded is None:
        return None
    if (act.verb, traded) in _CERTAIN or told & w.MARKET:
        return traded
    return None


def _amount(facts: Facts) -> str | None:
    """An amount together with a currency, a side or a receiver is money, whatever the name says."""
    names = {p.name for p in facts.parameters}
    amount = sorted(names & w.AMOUNT_WORDS)
    return amount[0] if amount and names & w.AMOUNT_PARTNERS else None


def _single(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word

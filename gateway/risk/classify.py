"""Tool definition in, assessment out: the same for the same definition, and explained. Pure.

Every piece of evidence names a category; the most severe wins. Annotations may raise, never lower.
It reads words, not intentions: what it cannot tell is Other, and a policy decides, not this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from approvals.model import Risk
from gateway.risk import words as w
from gateway.risk.assessment import Assessment, Category, Confidence, Signal, severity
from gateway.risk.definition import Facts, read
from gateway.risk.money import moves_money
from gateway.risk.signals import says_irreversible, signals
from gateway.risk.text import words
from gateway.risk.verbs import Act, act_of_name, act_of_sentence

_RISKS: tuple[Risk, ...] = ("low", "medium", "high", "critical")
_BASE: dict[Category, Risk] = {
    Category.READ: "low",
    Category.OTHER: "low",
    Category.WRITE: "medium",
    Category.EXECUTE: "medium",
    Category.DESTRUCTIVE: "high",
    Category.FINANCIAL: "critical",
}
_RAISES: dict[Category, frozenset[Signal]] = {
    Category.READ: frozenset({Signal.FREEFORM_CODE, Signal.CREDENTIAL}),
    Category.OTHER: frozenset({Signal.FREEFORM_CODE, Signal.CREDENTIAL}),
    Category.WRITE: frozenset(
        {Signal.FREEFORM_CODE, Signal.CREDENTIAL, Signal.EXTERNAL_RECIPIENT, Signal.BULK}
    ),
    Category.EXECUTE: frozenset({Signal.FREEFORM_CODE, Signal.CREDENTIAL, Signal.BULK}),
    Category.DESTRUCTIVE: frozenset({Signal.BULK, Signal.IRREVERSIBLE, Signal.FREEFORM_CODE}),
    Category.FINANCIAL: frozenset(),
}
_HINTED = "annotations.destructiveHint is true"
_HABIT = "This server marks most of its tools as destructive: here that counts for one step."
_ALWAYS_RAISES = frozenset({Signal.HIDDEN_CHARACTERS, Signal.CONTRADICTION})


@dataclass(frozen=True, slots=True)
class Evidence:
    """A category and where it was read. `firm` evidence may stand alone."""

    category: Category
    source: str  # name | title | description | phrase | annotation | parameters
    because: str  # of our own words only
    firm: bool = True


def classify(
    definition: object, *, habit: bool = False, settled: Category | None = None
) -> Assessment:
    """The assessment of one decoded tool definition. Never raises, whatever the server sent.

    With `habit` most tools of its server carry `destructiveHint`: it raises the risk by one step at
    most. A `settled` class is a person's, who saw the definition; what raises within it still does.
    """
    facts = read(definition)
    hinted = habit and facts.destructive is True
    found = tuple(_evidence(facts))
    weighed = tuple(e for e in found if not (hinted and e.because == _HINTED))
    shown = signals(facts)
    if hinted:
        shown = shown - {Signal.DESTRUCTIVE_HINT} | {Signal.HABIT}
    category = settled or _decide(facts, weighed)
    if facts.read_only and severity(category) > severity(Category.OTHER):
        shown |= {Signal.CONTRADICTION}
    risk = _risk(category, shown)
    if settled is not None:
        return Assessment(
            category=category,
            risk=risk,
            confidence="high",
            rationale=f"{category}: a person settled it.",
            signals=tuple(sorted(shown)),
            settled=True,
        )
    deciding = tuple(e for e in weighed if e.category is category)
    rationale = _rationale(facts, category, deciding)
    if hinted:
        at_most = _risk(_decide(facts, found), shown)
        risk = min(_step_up(risk), at_most, key=_RISKS.index)
        rationale += f" {_HABIT}"
    return Assessment(
        category=category,
        risk=risk,
        confidence=_confidence(category, weighed, shown),
        rationale=rationale,
        signals=tuple(sorted(shown)),
    )


def _step_up(risk: Risk) -> Risk:
    return _RISKS[min(_RISKS.index(risk) + 1, len(_RISKS) - 1)]


def _decide(facts: Facts, found: tuple[Evidence, ...]) -> Category:
    """The most severe; but a bare name proves no reading, and a vague verb alone proves nothing."""
    counted = [e for e in found if e.firm] if not facts.description else list(found)
    category = max((e.category for e in counted), key=severity, default=Category.OTHER)
    if category is Category.READ and not facts.description:
        return Category.OTHER
    return category


def _evidence(facts: Facts) -> Iterator[Evidence]:
    yield from _of_annotations(facts)
    acts = (
        ("name", act_of_name(facts.name)),
        ("title", act_of_name(facts.title)),
        ("description", act_of_sentence(facts.description)),
    )
    told = acts[2][1]
    changes = False
    for source, act in acts:
        if act is None or (source != "description" and not act.firm and told is not None):
            continue
        evidence = _of_act(source, act, facts)
        changes = changes or severity(evidence.category) > severity(Category.OTHER)
        yield evidence
    if changes and says_irreversible(facts.description):
        yield Evidence(Category.DESTRUCTIVE, "phrase", "it says that this cannot be undone")
    if acts[0][1] is None or acts[0][1].category is not Category.READ:
        yield from _of_choices(facts)
    yield from _of_code(facts, tuple(act for _, act in acts if act is not None))


def _of_annotations(facts: Facts) -> Iterator[Evidence]:
    """Claims of the server: taken at their word where they raise, passed over where they lower."""
    if facts.destructive and not facts.read_only:
        yield Evidence(Category.DESTRUCTIVE, "annotation", _HINTED)
    if facts.read_only is False:
        yield Evidence(Category.WRITE, "annotation", "annotations.readOnlyHint is false")


def _of_act(source: str, act: Act, facts: Facts) -> Evidence:
    firm = act.verb not in w.VAGUE
    money = moves_money(act, facts)
    if money is not None:
        because = f'the {source} says "{act.verb}" with "{money}", which moves money'
        return Evidence(Category.FINANCIAL, source, because)
    category = act.category
    if category is Category.FINANCIAL:
        category = Category.WRITE
    if act.verb == "cancel" and any(o.removesuffix("s") in w.TAKEN_AWAY for o in act.objects):
        category = Category.DESTRUCTIVE
    return Evidence(category, source, f'the {source} says "{act.verb}"', firm)


def _of_choices(facts: Facts) -> Iterator[Evidence]:
    """`action: create | delete`: a tool can do the worst of what it offers."""
    for parameter in facts.parameters:
        if parameter.name not in w.ACTION_PARAMETERS:
            continue
        for choice in parameter.choices:
            act = act_of_name(tuple(words(choice.replace("_", " "))))
            if act is not None and severity(act.category) >= severity(Category.EXECUTE):
                because = f'its choices of action include "{act.verb}"'
                yield Evidence(act.category, "parameters", because)


def _of_code(facts: Facts, acts: tuple[Act, ...]) -> Iterator[Evidence]:
    """Code runs when the verb says so, or says nothing; looking at code is only looking."""
    if Signal.FREEFORM_CODE not in signals(facts):
        return
    told = facts.description.lower()
    looks = any(phrase in told for phrase in ("read-only", "read only", "readonly", "select "))
    queries = any(act.verb == "query" for act in acts) and not looks
    if queries or all(act.verb in w.VAGUE for act in acts):
        yield Evidence(Category.EXECUTE, "parameters", "a parameter takes code or a query language")


def _risk(category: Category, shown: frozenset[Signal]) -> Risk:
    level = _RISKS.index(_BASE[category])
    level += bool(shown & _RAISES[category])
    level += bool(shown & _ALWAYS_RAISES)
    return _RISKS[min(level, len(_RISKS) - 1)]


def _confidence(
    category: Category, found: tuple[Evidence, ...], shown: frozenset[Signal]
) -> Confidence:
    """High when two sources agree; low without a description, a verb, or without contradiction."""
    doubt = {Signal.NO_DESCRIPTION, Signal.CONTRADICTION, Signal.MALFORMED}
    if category is Category.OTHER or shown & doubt:
        return "low"
    sources = {e.source for e in found if e.category is category}
    return "high" if len(sources) > 1 else "medium"


def _rationale(facts: Facts, category: Category, deciding: tuple[Evidence, ...]) -> str:
    if category is Category.OTHER or not deciding:
        why = (
            "no verb we know" if facts.description else "no description, and the name is not enough"
        )
        return f"{category}: {why}."
    reasons = list(dict.fromkeys(e.because for e in deciding))
    tail = "" if facts.description else "; there is no description"
    return f"{category}: {' and '.join(reasons[:3])}{tail}."

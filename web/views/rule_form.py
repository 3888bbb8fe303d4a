"""One tool's rules as a form; `filled` reads it back. Pure.

Fields are named by where their value stands in the tool's entry ("/approve_if/0/quorum"), so that a
problem of the checker, which names the same place, stands beside its field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.policy.conditions import MATCHES, OPERATORS, TEXT_ALONE
from gateway.policy.problems import PolicyProblem
from gateway.policy.rules import DETACHED, REVEAL, RISKS
from gateway.policy.vocabulary import AGAIN, RULES, SCOPES, SUMMARY, TERMS, WINDOWS
from web.views.rule_form_reader import typed

Kind = Literal["default", "allow", "deny", "hide", "hold", "custom"]
KINDS: Final[tuple[tuple[Kind, str, str], ...]] = (
    ("default", "As the default says", "Nothing is written about this tool by name."),
    ("allow", "Allow", "Passes without a person, within limits if you set some."),
    ("deny", "Deny", "Every call is refused; the agent is told why."),
    ("hide", "Hide", "Not in any list; a call by name is refused."),
    ("hold", "Require approval", "Every call waits for a person."),
    ("custom", "Custom", "It depends on the arguments."),
)
PATHS: Final = (
    *("tool.risk", "tool.annotations.destructiveHint", "tool.annotations.readOnlyHint"),
    *("grant.label", "client.name", "session.calls"),
)
"""What conditions may read besides arguments."""
_FLAGS: Final = ("not_owner", "allow_duplicates", "web_only")
_LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "reason": ("Why a person is asked", "The agent and the reviewer read it"),
    "summary": ("The call in a sentence", "Charge {args.amount} to {args.customer}"),
    "reviewers": ("Who may decide", "ops, alice, slack:T024/U07"),
    "quorum": ("How many people", "1"),
    "expires": ("Time to decide", "30m"),
    "risk": ("Risk", "The tool's class"),
    "editable": ("May be changed first", "args.amount"),
    "hold": ("The call itself waits", "50s"),
    "use_within": ("Approval is good for", "15m"),
    "undo": ("Can be taken back for", "0s"),
    "when_detached": ("When the agent has gone", ""),
    "not_owner": ("Not by the agent's owner", ""),
    "deny_memory": ("Denial is remembered for", "10m"),
    "allow_duplicates": ("An approval for each identical call", ""),
    "channel": ("Slack channel", ""),
    "web_only": ("Not approved in Slack", ""),
    "reveal": ("Who may see what is redacted", ""),
}
_FIRST: Final = ("reason", "summary", "reviewers", "quorum", "expires", "risk", "editable")
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "risk": (*RISKS, *(f"set {risk}" for risk in RISKS)),
    "when_detached": DETACHED,
    "not_owner": ("true", "false"),
    "allow_duplicates": ("true", "false"),
    "web_only": ("true", "false"),
    "reveal": REVEAL,
}
_TITLES: Final = {
    "deny_if": ("Deny if", "Refused when all conditions of one rule hold."),
    "require": ("Deny unless", "Refused unless all conditions of every rule hold."),
    "approve_if": ("Ask a person if", "Waits when all conditions of one rule hold."),
}


@dataclass(frozen=True, slots=True)
class Control:
    """One field of the form."""

    name: str
    label: str
    value: str
    hint: str = ""  # an example; of a choice: what stands for no choice
    options: tuple[str, ...] = ()
    problems: tuple[PolicyProblem, ...] = ()
    suggests: str = ""  # the id of a list of likely values


@dataclass(frozen=True, slots=True)
class RuleForm:
    """One element of `deny_if`, `require` or `approve_if`; or `require_approval`."""

    at: str
    number: int
    keep: str  # which rule of the file it was
    always: bool
    conditions: tuple[tuple[Control, ...], ...] = ()  # each: what, compared, with, of a list
    controls: tuple[Control, ...] = ()
    more: tuple[Control, ...] = ()
    problems: tuple[PolicyProblem, ...] = ()
    spare: bool = False

    @property
    def opened(self) -> bool:
        return any(one.value or one.problems for one in self.more)


@dataclass(frozen=True, slots=True)
class Part:
    key: str
    title: str
    sentence: str
    rules: tuple[RuleForm, ...]


@dataclass(frozen=True, slots=True)
class LimitForm:
    at: str
    number: int
    keep: str
    controls: tuple[Control, ...]
    problems: tuple[PolicyProblem, ...]
    spare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """The whole form of one tool."""

    kind: Kind
    told: Control  # what a denied agent is told
    every: bool  # custom: every call waits
    hold: RuleForm
    parts: tuple[Part, ...]
    limits: tuple[LimitForm, ...]
    redact: Control
    effect: Control
    once: tuple[Control, Control]  # how long the effect counts, and what then
    problems: tuple[PolicyProblem, ...]  # those that belong to no field

    @property
    def opened(self) -> bool:
        """Whether secrets and effects say anything."""
        return any(one.value or one.problems for one in (self.redact, self.effect, *self.once))


@dataclass(slots=True)
class _Places:
    """Problems by their place in the entry; each is shown once."""

    left: dict[str, list[PolicyProblem]] = field(default_factory=dict)

    def take(self, at: str) -> tuple[PolicyProblem, ...]:
        return tuple(self.left.pop(at, ()))

    def under(self, at: str) -> tuple[PolicyProblem, ...]:
        inside = [place for place in self.left if place == at or place.startswith(f"{at}/")]
        return tuple(one for place in inside for one in self.left.pop(place))


def kind_of(choice: Mapping[str, Any] | Literal["hide"] | None) -> Kind:
    """Which of the choices says the same."""
    if choice is None:
        return "default"
    if isinstance(choice, str):
        return "hide"
    rules = {key: choice[key] for key in RULES if choice.get(key) not in (None, [], False)}
    limits = rules.pop("limits", None)
    if not rules:
        return "allow"
    if list(rules) == ["require_approval"]:
        return "hold"
    denials = rules.get("deny_if")
    always = isinstance(denials, list) and len(denials) == 1 and not denials[0].get("conditions")
    return "deny" if always and len(rules) == 1 and not limits else "custom"


def builder(choice: Any, problems: Iterable[PolicyProblem], base: str, kind: str = "") -> Builder:
    """The form as it shows this choice. `base` is the JSON pointer of the tool's entry."""
    entry = choice if isinstance(choice, dict) else {}
    places = _Places()
    for problem in problems:
        places.left.setdefault(problem.pointer.removeprefix(base), []).append(problem)
    chosen = next((one for one, _, _ in KINDS if one == kind), kind_of(choice))
    told = ""
    if chosen == "deny":
        rule = entry["deny_if"][0] if entry.get("deny_if") else {}
        told = rule.get("on_deny", rule.get("reason", ""))
    on_deny = places.take("/deny_if/0/on_deny") if chosen == "deny" else ()
    return Builder(
        kind=chosen,
        told=Control("/on_deny", "What the agent is told", told, "Why not", problems=on_deny),
        every=bool(entry.get("require_approval")),
        hold=_hold_form(entry, places),
        parts=tuple(_part(key, entry if chosen != "deny" else {}, places) for key in _TITLES),
        limits=tuple(_limit_forms(entry, places)),
        redact=Control(
            "/redact", "Hidden from people", typed(entry.get("redact") or ""), "args.password",
            problems=places.under("/redact"),
        ),
        effect=Control(
            "/effect", "Done once for each", str(entry.get("effect", "")), "refund:{args.id}",
            problems=places.take("/effect"),
        ),
        once=(
            Control(
                "/effect_for", "Counts for", typed(entry.get("effect_for", "")), "30d",
                problems=places.take("/effect_for"),
            ),
            Control(
                "/effect_again", "A second time", str(entry.get("effect_again", "")), "", AGAIN,
                problems=places.take("/effect_again"),
            ),
        ),
        problems=places.under(""),
    )  # fmt: skip


def _hold_form(entry: Mapping[str, Any], places: _Places) -> RuleForm:
    raw = entry.get("require_approval")
    at = "/require_approval"
    stated = raw if isinstance(raw, dict) else {}
    first, more = _term_controls(at, stated, places)
    rest = places.under(at)
    return RuleForm(at, 0, "", always=True, controls=first, more=more, problems=rest)


def _part(key: str, entry: Mapping[str, Any], places: _Places) -> Part:
    listed = entry.get(key)
    rules = [rule for rule in listed if isinstance(rule, dict)] if isinstance(listed, list) else []
    forms = [_rule_form(key, number, rule, places) for number, rule in enumerate(rules)]
    forms.append(_rule_form(key, len(rules), {}, places, spare=True))
    return Part(key, *_TITLES[key], tuple(forms))


def _rule_form(
    key: str, number: int, rule: Mapping[str, Any], places: _Places, *, spare: bool = False
) -> RuleForm:
    at = f"/{key}/{number}"
    listed = rule.get("conditions")
    conditions = listed if isinstance(listed, list) else []
    rows = [_condition(f"{at}/conditions/{n}", one, places) for n, one in enumerate(conditions)]
    rows.append(_condition(f"{at}/conditions/{len(conditions)}", {}, places))
    more: tuple[Control, ...] = ()
    if key == "approve_if":
        controls, more = _term_controls(at, rule, places)
    else:
        told = str(rule.get("on_deny", rule.get("reason", "")))
        wrong = (*places.take(f"{at}/on_deny"), *places.take(f"{at}/reason"))
        controls = (
            Control(f"{at}/on_deny", "What the agent is told", told, "Why not", problems=wrong),
        )
    return RuleForm(
        at=at,
        number=number + 1,
        keep="" if spare else str(number),
        always=not spare and listed == [],
        conditions=tuple(rows),
        controls=controls,
        more=more,
        problems=places.under(at),
        spare=spare,
    )


def _condition(at: str, one: Any, places: _Places) -> tuple[Control, ...]:
    stated = one if isinstance(one, dict) else {}
    op = str(stated.get("op", "eq"))
    value = stated.get("value", "")
    alone = op in TEXT_ALONE
    shown = str(value) if alone and isinstance(value, str) else typed(value)
    if value == "" and not alone:
        shown = "" if not stated else '""' if stated.get("path") else ""
    wrong = places.take(f"{at}/path")
    unfit = places.take(f"{at}/match")
    match = str(stated.get("match", ""))
    usual = "every one" if at.startswith("/require/") else "any one"
    return (
        Control(
            f"{at}/path", "What", str(stated.get("path", "")), "args.amount", (), wrong, "paths"
        ),
        Control(f"{at}/op", "Compared", op, "", OPERATORS, places.take(f"{at}/op")),
        Control(f"{at}/value", "With", shown, "50000", (), places.under(at)),
        Control(f"{at}/match", "Of a list [*]", match, usual, MATCHES, unfit),
    )


def _term_controls(
    at: str, stated: Mapping[str, Any], places: _Places
) -> tuple[tuple[Control, ...], tuple[Control, ...]]:
    made = {
        key: Control(
            f"{at}/{key}",
            _LABELS[key][0],
            _stated(key, stated),
            _LABELS[key][1],
            _CHOICES.get(key, ()),
            places.under(f"{at}/{key}"),
            "people" if key == "reviewers" else "",
        )
        for key in ("reason", SUMMARY, *TERMS)
    }
    return (
        tuple(made[key] for key in _FIRST),
        tuple(control for key, control in made.items() if key not in _FIRST),
    )


def _stated(key: str, stated: Mapping[str, Any]) -> str:
    value = stated.get(key, "")
    if key == "risk" and isinstance(value, dict) and isinstance(value.get("set"), str):
        return f"set {value['set']}"
    return (
        value
        if key in ("reason", SUMMARY, "channel") and isinstance(value, str)
        else (typed(value) if key in stated else "")
    )


def _limit_forms(entry: Mapping[str, Any], places: _Places) -> Iterable[LimitForm]:
    listed = entry.get("limits")
    limits = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    for number, one in enumerate((*limits, {})):
        at = f"/limits/{number}"
        spare = number == len(limits)
        labels = {
            "max": ("At most", "60"),
            "window": ("Per", "minute, hour, day or seconds"),
            "scope": ("For each", ""),
            "counter": ("Counted as", "calls"),
            "increment_from": ("Adding up", "calls, or args.amount"),
        }
        controls = tuple(
            Control(
                f"{at}/{key}",
                *_named(labels[key], one, key, spare=spare),
                SCOPES if key == "scope" else (),
                places.take(f"{at}/{key}"),
                "windows" if key == "window" else "",
            )
            for key in labels
        )
        keep = "" if spare else str(number)
        yield LimitForm(at, number + 1, keep, controls, places.under(at), spare)


def _named(
    label: tuple[str, str], one: Mapping[str, Any], key: str, *, spare: bool
) -> tuple[str, str, str]:
    given = {"window": "minute", "scope": "grant"} if spare else {}
    value = one.get(key, given.get(key, ""))
    shown = value if isinstance(value, str) else typed(value)
    return label[0], shown, label[1]


WINDOW_NAMES: Final = tuple(WINDOWS)

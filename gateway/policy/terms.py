"""The terms of an approval: read, filled in with defaults, the strictest of several. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from approvals.model import MIDDLE, Risk, Terms
from gateway.policy import paths, reading, summaries, vocabulary
from gateway.policy.problems import Report, shown, step
from gateway.policy.reviewers import Groups, channel_of, check_names, identities, names_in
from gateway.policy.rules import DETACHED, REVEAL, RISKS

Written = dict[str, Any]
"""Terms as a rule states them, checked, in normal form: durations spelled "30m"."""

_DURATIONS = {
    "expires": vocabulary.EXPIRES,
    "hold": vocabulary.HOLD_SECONDS,
    "use_within": vocabulary.USE_WITHIN,
    "undo": vocabulary.UNDO,
    "deny_memory": vocabulary.DENY_MEMORY,
}


def read(raw: Mapping[str, Any], pointer: str, groups: Groups, report: Report) -> Written:
    """The terms among the members of `raw`; what is wrong is reported and left out."""
    written: Written = {}
    for key in vocabulary.TERMS:
        if key in raw:
            value = _term(key, raw[key], step(pointer, key), groups, report)
            if value is not None:
                written[key] = value
    summary = summaries.read(raw, pointer, report)
    if summary:
        written[vocabulary.SUMMARY] = summary
    older = vocabulary.OLDER_EXPIRES
    if older in raw:
        value = _term("expires", raw[older], step(pointer, older), groups, report)
        if "expires" in raw:
            report.error(
                step(pointer, older), "This is `expires` a second time.", "Keep `expires`."
            )
        elif value is not None:
            written["expires"] = value
    return written


def _term(key: str, raw: Any, pointer: str, groups: Groups, report: Report) -> Any:
    what = f"`{key}`"
    if key in _DURATIONS:
        least, most = _DURATIONS[key]
        seconds = reading.duration(raw, pointer, report, what=what, least=least, most=most)
        return None if seconds is None else reading.brief(seconds)
    match key:
        case "reviewers":
            names = names_in(raw, pointer, report)
            check_names(names, groups, report)
            return [name for _, name in names] or None
        case "quorum":
            least, most = vocabulary.QUORUM
            return reading.whole(raw, pointer, report, what=what, least=least, most=most)
        case "reveal":
            return reading.one_of(raw, pointer, REVEAL, report, what=what)
        case "when_detached":
            return reading.one_of(raw, pointer, DETACHED, report, what=what)
        case "risk":
            return _risk(raw, pointer, report)
        case "editable":
            found = [
                paths.parse(item, place, report, roots=("args",))
                for place, item in reading.items(raw, pointer, report, what=what)
            ]
            return [path.text for path in found if path is not None]
        case "channel":
            return reading.text(raw, pointer, report, what=what)
        case _:
            return reading.boolean(raw, pointer, report, what=what)


def _risk(raw: Any, pointer: str, report: Report) -> Any:
    """`"high"`, which is never less than the tool's class; or `{"set": "low"}`, which may be."""
    if not isinstance(raw, dict):
        return reading.one_of(raw, pointer, RISKS, report, what="`risk`")
    known = reading.members(raw, pointer, vocabulary.RISK, report, what="`risk`")
    if known is None or "set" not in known:
        report.error(pointer, f"`risk` must not be {shown(raw)}.", 'Write {"set": "low"}.')
        return None
    level = reading.one_of(known["set"], step(pointer, "set"), RISKS, report, what="`set`")
    return None if level is None else {"set": level}


def fill(
    written: Mapping[str, Any], defaults: Terms, groups: Groups, *, channel: str | None = None
) -> Terms:
    """The terms in force: what the rule states, the defaults for the rest.

    The channel is the rule's own, else that of a group it names, else `channel`, which the defaults
    state in so many words: that of a group which only they name is no place for others' calls.
    """
    changed: dict[str, Any] = dict(written)
    for key in _DURATIONS:
        if key in changed:
            changed[key] = seconds(changed[key])
    if "reviewers" in changed:
        names = tuple(changed["reviewers"])
        changed["reviewers"] = identities(names, groups)
        changed.setdefault("channel", channel_of(names, groups) or channel)
    if "editable" in changed:
        changed["editable"] = tuple(changed["editable"])
    if "risk" in changed:
        stated = changed["risk"]
        changed["risk_set"] = isinstance(stated, dict)
        changed["risk"] = stated["set"] if isinstance(stated, dict) else stated
    return replace(defaults, **changed) if changed else defaults


def undo_fits(terms: Terms) -> bool:
    """Whether an agent that waits in place still gets its answer there, mostly."""
    hold = vocabulary.HOLD_UNSAID if terms.hold is None else terms.hold
    return 2 * terms.undo <= hold


def seconds(duration: str) -> int:
    """The seconds of a duration in normal form."""
    found = reading.duration(duration, "", Report(), what="", least=0, most=2**40)
    return 0 if found is None else found


def strictest(terms: Sequence[Terms]) -> Terms | None:
    """The terms that satisfy every one given; None when no reviewer is in all of them."""
    result = terms[0]
    for other in terms[1:]:
        shared = meet(result.reviewers, other.reviewers)
        if shared is None:
            return None
        result = Terms(
            reviewers=shared,
            quorum=max(result.quorum, other.quorum),
            expires=min(result.expires, other.expires),
            hold=_least(result.hold, other.hold),
            use_within=min(result.use_within, other.use_within),
            undo=max(result.undo, other.undo),
            when_detached=max(result.when_detached, other.when_detached, key=DETACHED.index),
            editable=tuple(path for path in result.editable if path in other.editable),
            risk=larger(result.risk, other.risk),
            risk_set=result.risk_set and other.risk_set,  # one that does not is the tool's class
            tool_risk=larger(result.tool_risk, other.tool_risk),
            not_owner=result.not_owner or other.not_owner,
            deny_memory=max(result.deny_memory, other.deny_memory),
            allow_duplicates=result.allow_duplicates and other.allow_duplicates,
            channel=result.channel or other.channel,
            web_only=result.web_only or other.web_only,
            reveal=result.reveal if result.reveal == other.reveal else None,
            summary=result.summary or other.summary,
        )
    return result


def larger(one: Risk | None, other: Risk | None) -> Risk | None:
    return max((risk for risk in (one, other) if risk is not None), key=RISKS.index, default=None)


def at_risk(terms: Terms, tool: Risk | None) -> Terms:
    """The terms with the risk in force: the larger of the rule's and that of the tool's class; the
    rule's alone where every rule that applies sets it.
    """
    stated = terms.risk if terms.risk_set else larger(terms.risk, tool)
    return replace(terms, risk=stated or MIDDLE, tool_risk=tool)


def cover(given: Terms, asked: Terms) -> bool:
    """Whether an approval under the given terms says everything that the asked terms want."""
    both = strictest([given, asked])
    return both is not None and _asked(both) == _asked(given)


def _asked(terms: Terms) -> tuple[object, ...]:
    """What an approval must have been given under to count."""
    risk = terms.risk or MIDDLE
    return terms.reviewers, terms.quorum, risk, terms.not_owner, terms.web_only


def meet(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...] | None:
    """Who is in both; an empty list means everybody with the role. None: no one is."""
    if not one or not other:
        return one or other
    shared = tuple(name for name in one if name in other)
    return shared or None


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)

"""The card of one held call in each of its states: the record's view as Slack's blocks. Pure.

It asks first, then says why, who, how risky, until when, what changed, and all arguments. Unless
every byte of them is on the card there is no Approve button, only the way to the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from approvals.cautions import called, cautions, void
from approvals.model import Approval, Execution, Millis, Settlement, State, short_id
from approvals.reversal import runs_from, takeable, taken_back
from approvals.slack import action_values
from approvals.slack.arguments import Shown, arguments
from approvals.slack.blocks import (
    Json,
    MessageBody,
    actions,
    bullets,
    button,
    confirm,
    context,
    face,
    fields,
    header,
    line,
    ours,
    plain,
    preformatted,
    rich,
    said,
    section,
)
from approvals.slack.card_context import (
    CardContext,
    asks,
    heard,
    name_of,
    person,
    wanted,
)
from approvals.slack.text import fit, harmless, quoted, utc, utc_second, visible, when
from approvals.values import FieldChange
from approvals.view import EditSummary, Since, View, approvers

_NAMED: Final = 5  # of those who approved
_CHANGES: Final = 5  # shown of one comparison
_CHANGED: Final = 120  # characters of one side of a change
_EDITS: Final = 3  # told in the line that says who edited
_ODD: Final = 5  # values with odd letters that the card spells
_EDITED: Final = 60  # characters of one side there
_REVIEWERS: Final = 8
_DIGEST: Final = 12
RISK_WORDS: Final = {
    "low": "⚪ Low",
    "medium": "🟡 Medium",
    "high": "🟠 High",
    "critical": "🔴 Critical",
}


def card(view: View, look: CardContext, *, now: Millis, called: Sequence[str] = ()) -> MessageBody:
    """The message that shows the approval as it stands; `called` are mentions, for a message that
    is new: a change of one calls no one.
    """
    approval = view.approval
    if approval.state is State.PENDING and approval.expires_at > now:
        return _asking(view, look, called)
    return _told(view, look, now=now)


def shows_all(view: View, look: CardContext) -> bool:
    """Whether every byte of the call is on its card, so that it may be approved there."""
    return arguments(view, look).whole


def bare(view: View, look: CardContext, *, now: Millis) -> MessageBody:
    """The least that can be said: for when Slack refuses the card itself. No Approve button."""
    approval = view.approval
    pending = approval.state is State.PENDING and approval.expires_at > now
    title = f"{'Approve' if pending else outcome(approval, now)[0] + ':'} {short_id(approval.id)}"
    said_ = "This call cannot be shown here. Look at it on the page."
    link = button(action_values.OPEN, "Review in full", url=look.link(approval))
    return face(
        f"{title}. {said_}",
        [
            header(f"{title}?" if pending else title),
            section("why", plain(said_)),
            actions(action_values.block_of(approval), [link]) if pending else None,
        ],
    )


def outcome(approval: Approval, now: Millis) -> tuple[str, str]:
    """One word or two for what became of it, and a sentence that says what that means."""
    if approval.state is State.PENDING:
        if approval.expires_at > now:
            return "Waiting", "It waits for a person."
        return "Expired", "No one decided in time, which counts as a denial. Nothing ran."
    if approval.state is State.APPROVED:
        word, sentence = _OUTCOMES[approval.execution]
        later = runs_from(approval)
        return word, f"It can be taken back until {utc_second(later)}." if later > now else sentence
    if taken_back(approval):
        return "Taken back", "It was approved, and taken back before it started. Nothing ran."
    return _ENDS[approval.state]


_ENDS: Final = {
    State.DENIED: ("Denied", "Nothing ran."),
    State.EXPIRED: ("Expired", "Nothing ran."),
    State.WITHDRAWN: ("Withdrawn", "The agent no longer wants it. Nothing ran."),
    State.SUPERSEDED: ("Void", "What it stood on has changed. Nothing ran."),
}
_OUTCOMES: Final = {
    Execution.NONE: ("Approved", "It runs as soon as the agent takes its answer."),
    Execution.EXECUTING: ("Approved", "It is running."),
    Execution.INPUT_REQUIRED: ("Approved", "The server asked back; the agent has to answer."),
    Execution.SUCCEEDED: ("Done", "Approved; it ran, and the server answered without an error."),
    Execution.TOOL_ERROR: ("Ran with an error", "Approved; it ran, and the tool gave an error."),
    Execution.UPSTREAM_ERROR: ("Failed", "Approved; the server answered with an error."),
    Execution.NOT_EXECUTED: ("Not sent", "Approved, but the server could not be reached."),
    Execution.OUTCOME_UNKNOWN: (
        "Outcome unknown",
        "Approved and sent, but no answer was recorded: it may have run. Settle it on the page.",
    ),
}


def _asking(view: View, look: CardContext, called: Sequence[str]) -> MessageBody:
    approval = view.approval
    shown = arguments(view, look)
    here = shown.whole and not approval.terms.web_only
    return face(
        _notice(view, look),
        [
            header(asks(view, look)),
            *(
                section(f"alarm{n}", plain(text, most=500))
                for n, text in enumerate(_alarms(view, look))
            ),
            section("why", plain(*_why(view, look), most=1_000)),
            fields("facts", list(_facts(view, look))),
            _changed(view) if look.show_arguments else None,
            rich("arguments", list(_arguments(view, shown))),
            actions(action_values.block_of(approval), list(_buttons(view, look, here=here))),
            context("about", list(_about(view, called))),
        ],
        approvable=here,
    )


def _told(view: View, look: CardContext, *, now: Millis) -> MessageBody:
    approval = view.approval
    word, sentence = outcome(approval, now)
    said_ = [sentence]
    if approval.reason.strip():
        said_.append(f"Reason: {quoted(approval.reason.strip(), 1_000)}")
    if approval.settlement is not None:
        ran = "it ran" if approval.settlement is Settlement.DONE else "it did not run"
        said_.append(f"Settled since: {ran}.")
    told = wanted(view.headline, look)
    size = len(approval.masked)
    who = f", by {approval.decided_by}" if harmless(approval.decided_by) else ""
    return face(
        f"{word}: {heard(told)}{who}.",
        [
            header(f"{word}: {told.text}"),
            section("why", plain(*said_, most=1_500)),
            fields("facts", list(_facts(view, look))),
            actions(action_values.block_of(approval), [_back(approval)])
            if takeable(approval, now)
            else None,
            context(
                "ending",
                [_ending(approval, look), ours(f"<{look.link(approval)}|Open on the page>")],
            ),
            context(
                "about",
                [
                    *_ids(approval),
                    ours(f"Arguments: {size:,} characters"),
                ],
            ),
        ],
    )


def _back(approval: Approval) -> Json:
    return button(
        action_values.TAKE_BACK,
        "Take back",
        value=action_values.value_of(approval),
        spoken=f"Take the approval back, until it has started: {name_of(approval)}",
    )


def _notice(view: View, look: CardContext) -> str:
    """What a lock screen shows: the sentence, agent, risk and limit, in `mrkdwn`."""
    approval = view.approval
    told = heard(wanted(view.headline, look))
    agent = f"{approval.call.grant_label}, " if harmless(approval.call.grant_label) else ""
    return f"Approve? {told} ({agent}{approval.risk} risk), until {utc(approval.expires_at)}."


def _ending(approval: Approval, look: CardContext) -> Json:
    """Who ended it, where, and when."""
    word = "Taken back" if taken_back(approval) else str(approval.state).capitalize()
    via = f" via {approval.decided_via}" if approval.decided_via else ""
    at = approval.decided_at or approval.expires_at
    if not approval.decided_by:
        return ours(f"{word} · {when(at)}")
    known = person(approval.decided_by, look)
    if known:
        return ours(f"{word} by {known}{via} · {when(at)}")
    return plain(f"{word} by {approval.decided_by}{via} · {utc(at)}", most=300)


def _alarms(view: View, look: CardContext) -> Iterator[str]:
    if view.edit is not None:
        yield f"⚠ {edited(view.edit, look)}"
    yield from (f"⚠ {caution}" for caution in cautions(view))
    if view.unknown_outcome:
        yield (
            f"⚠ A call like this ({short_id(view.unknown_outcome)}) may already have run: its "
            "outcome is unknown and no one has settled it. Approving may do it twice."
        )
    if view.voided:
        people = ", ".join(sorted({vote.reviewer for vote in view.voided}))
        yield f"⚠ {void(view)} Earlier approvals no longer count: {people}."


def _letters(view: View) -> Iterator[str]:
    """Of which values the letters, or the names, may be taken for others."""
    odd = [one for one in (*view.arguments, *view.metadata) if one.odd]
    for one in odd[:_ODD]:
        letters = visible(", ".join(one.odd))
        yield f"{fit(visible(one.path.removeprefix('args.')), 80)}: {fit(letters, 300)}."
    if len(odd) > _ODD:
        yield f"{len(odd) - _ODD:,} more values hold such letters: review them on the page."


def edited(edit: EditSummary, look: CardContext) -> str:
    """Who changed what the agent asked for, from what to what, in one line."""
    people = " and ".join(visible(one) for one in edit.by)
    if not look.show_arguments or not edit.changes:
        return f"{people} changed the arguments."
    told = [_edit(one) for one in edit.changes[:_EDITS]]
    left = len(edit.changes) - _EDITS
    more = f", and {left:,} more" if left > 0 else ""
    return f"{people} changed {'; '.join(told)}{more}."


def _edit(one: FieldChange) -> str:
    sides = [
        "nothing" if text is None else text if value.type == "number" else quoted(text, _EDITED)
        for text, value in zip(one.brief(_EDITED), (one.before, one.after), strict=True)
    ]
    return f"{fit(visible(one.path.removeprefix('args.')), 60)}: {sides[0]} → {sides[1]}"


def _why(view: View, look: CardContext) -> Iterator[str]:
    ruling = view.approval.ruling
    because = f": {ruling.matched}" if ruling.matched and look.show_arguments else ""
    yield f"Held by a rule{because}."
    if ruling.reason:
        yield ruling.reason
    if view.unable:
        yield view.unable


def _facts(view: View, look: CardContext) -> Iterator[Json]:
    approval = view.approval
    call, terms = approval.call, approval.terms
    yield _fact("Agent", call.grant_label or call.grant)
    yield _fact("Tool", name_of(approval))
    set_ = approval.lowered_from
    lowered = f" (the rule sets it; the tool's class says {set_})" if set_ is not None else ""
    flags = "".join(f", {one}" for one in view.flags)
    yield _fact("Risk", RISK_WORDS[approval.risk] + lowered + flags)
    if approval.state is State.PENDING:
        yield ours(f"*Expires*\n{when(approval.expires_at)}, then denied")
    if terms.quorum > 1:
        yield _approvals(view, look)
    if call.client.name:
        program = f"{call.client.name} {call.client.version}".strip()
        yield plain("Program, as it says", quoted(program), most=300)
    if approval.attempts > 1:
        yield ours(f"*Asked*\n{approval.attempts} times")


def _fact(label: str, value: str) -> Json:
    """Bold where the value can do no harm in `mrkdwn`, plain where it might."""
    if harmless(value) or value.startswith(tuple(RISK_WORDS.values())):
        return ours(f"*{label}*\n{value}", 300)
    return plain(label, value, most=300)


def _approvals(view: View, look: CardContext) -> Json:
    given = approvers(view)
    named = [person(one, look) for one in given[:_NAMED]]
    count = f"{len(given)} of {view.approval.terms.quorum}"
    people = ", ".join(one for one in named if one)
    return ours(f"*Approvals*\n{count}{': ' if people else ''}{people}", 300)


def _changed(view: View) -> Json:
    elements: list[Json] = []
    if view.edit is not None:
        by = " and ".join(visible(one) for one in view.edit.by)
        told = f"  since the agent asked, by {fit(by, 60)} ({utc(view.edit.at)})"
        elements.append(line(said("What changed", bold=True), said(told)))
        elements.append(bullets(_changes(view.edit.changes)))
    for word, since in (("approved", view.since_approved), ("denied", view.since_denied)):
        if since is None:
            continue
        elements.append(line(said("What changed", bold=True), said(_since(word, since))))
        if since.changes:
            elements.append(bullets(_changes(since.changes)))
    if not elements:
        words_ = "Nothing to compare with: no call of this tool by this agent was decided before."
        elements.append(line(said("What changed", bold=True), said(f"  {words_}")))
    return rich("changed", elements)


def _changes(changes: Sequence[FieldChange]) -> list[Json]:
    items = [_change(one) for one in changes[:_CHANGES]]
    left = len(changes) - _CHANGES
    return [*items, line(said(f"and {left:,} more", italic=True))] if left > 0 else items


def _since(word: str, since: Since) -> str:
    by = f" by {fit(visible(since.by), 60)}" if since.by else ""
    reason = f": “{fit(visible(since.reason), 120)}”" if since.reason else ""
    same = "" if since.changes else ": nothing, the arguments are the same"
    which = fit(visible(since.named(word)), 120)
    return f"  since the {which} ({utc(since.at)}{by}{reason}){same}"


def _change(one: FieldChange) -> Json:
    path = fit(visible(one.path.removeprefix("args.")), 80)
    before, after = one.brief(_CHANGED)
    sides = [
        said("not there", italic=True) if side is None else said(visible(side) or '""', **style)
        for side, style in ((before, {"strike": True}), (after, {"bold": True}))
    ]
    return line(said(path), said(": "), sides[0], said(" → "), sides[1])


def _arguments(view: View, shown: Shown) -> Iterator[Json]:
    yield line(said("Arguments", bold=True), said(f"  {shown.note}"))
    if shown.text:
        yield preformatted(shown.text)
        yield from (line(said(f"⚠ {one}")) for one in _letters(view))


def _buttons(view: View, look: CardContext, *, here: bool) -> Iterator[Json]:
    approval = view.approval
    value, name = action_values.value_of(approval), name_of(approval)
    page = look.link(approval)
    if here:
        grave = approval.grave or _twice(view)
        yield button(
            action_values.APPROVE,
            "Approve",
            value=value,
            style="primary",
            spoken=f"Approve this one call: {name}",
            confirm=_sure(view) if grave else None,
        )
    else:
        yield button(action_values.OPEN, "Review in full", url=page, style="primary")
    yield button(
        action_values.DENY,
        "Deny…",
        value=value,
        style="danger",
        spoken=f"Deny with a reason: {name}",
    )
    yield button(action_values.ASK, "Ask for a change…", value=value)
    if view.effect is not None and view.effect.state == "unknown":
        other = called(view.effect.holder)
        yield button(
            action_values.DONE, "It was done…", value=value, spoken=f"{other} did it: say how"
        )
        yield button(
            action_values.NOT_DONE, "It was not…", value=value, spoken=f"{other} did not: say how"
        )
    if here:
        if approval.terms.editable:
            yield button(action_values.EDIT, "Change it first…", value=value)
        yield button(action_values.OPEN, "Open", url=page, spoken="Open this call on the page")


def _twice(view: View) -> bool:
    """Whether what it does was done before, or may have been."""
    effect = view.effect
    return view.unknown_outcome is not None or (
        effect is not None and effect.state in ("done", "unknown")
    )


def _sure(view: View) -> Json:
    approval = view.approval
    risk = approval.risk.capitalize()
    twice = " A call like it has run, or may have." if _twice(view) else ""
    return confirm(
        "Approve once?",
        f"{risk} risk. {fit(name_of(approval), 180)} runs with the arguments shown.{twice}",
        "Approve",
        "Back",
    )


def _about(view: View, called: Sequence[str]) -> Iterator[Json]:
    approval = view.approval
    named = [one for one in approval.terms.reviewers if harmless(one)][:_REVIEWERS]
    if called:
        yield ours("Reviewers: " + " ".join(called))
    elif named:
        yield ours("Reviewers: " + ", ".join(named))
    if approval.terms.web_only:
        yield ours("Its rule has it approved on the page, not in Slack")
    yield from _ids(approval)
    yield plain(f"Rule {approval.ruling.rule}", most=200)
    if view.similar:
        before = (f"{one.word} by {one.by}, {utc(one.at)}" for one in view.similar[:3])
        yield plain("Before: " + "; ".join(before), most=400)


def _ids(approval: Approval) -> Iterator[Json]:
    edited = f" · revision {approval.revision}" if approval.revision > 1 else ""
    digest = approval.digest[:_DIGEST]
    yield ours(f"`{short_id(approval.id)}` · digest `{digest}`{edited}")

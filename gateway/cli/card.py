"""One approval on a terminal: all that a reviewer is shown, from the view of page and Slack.

Composed by us; words of agents and tools appear only as values, with nothing hidden in them. Pure
but for printing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from approvals.cautions import cautions
from approvals.model import Choice, State
from approvals.reversal import runs_from, taken_back
from approvals.values import Value
from approvals.view import Since, View, lowered
from gateway.cli import show

_WIDE = 72  # characters of a value that still stand on its line


def draw(view: View) -> None:
    """Print it. The last line is the digest of the call: what `--hash` wants."""
    approval = view.approval
    call = approval.call
    print(show.line(view.headline.text))
    print(f"{show.line(call.tool)} on {show.line(call.server)}   {approval.id}")
    show.pairs(_facts(view))
    for name, since in (("approved", view.since_approved), ("denied", view.since_denied)):
        if since is not None:
            _draw_since(name, since)
    _draw_values(view)
    if view.similar:
        print("earlier decisions on this tool")
        for one in view.similar:
            said = f': "{show.line(one.reason)}"' if one.reason else ""
            print(f"  {one.approval_id[:10]}  {one.word} by {show.line(one.by)}", end="")
            print(f", {show.moment(one.at)}{said}")
    for vote in (*view.votes, *view.voided):
        void = "" if vote.revision == approval.revision else f" (revision {vote.revision}, void)"
        verb = "approved" if vote.choice is Choice.APPROVE else "denied"
        print(f"vote         {show.line(vote.reviewer)} {verb} by {vote.via}", end="")
        print(f", {show.moment(vote.at)}{void}")
    print(f"sha256       {approval.digest}")


def _draw_values(view: View) -> None:
    print("arguments")
    if not view.arguments:
        print("  none")
    for value in view.arguments:
        print(_written(value))
    if view.metadata:
        print("sent beside the arguments, as the agent asked with it")
    for value in view.metadata:
        print(_written(value))
    if not view.complete:
        _draw_whole("arguments in full", view.approval.masked)
        _draw_whole("sent beside them, in full", view.approval.metadata_masked)


def _draw_whole(title: str, masked: str) -> None:
    if masked:
        print(title)
        print(show.block(json.dumps(json.loads(masked), ensure_ascii=False, indent=2)))


def _facts(view: View) -> Iterator[tuple[str, str]]:
    approval = view.approval
    call, ruling = approval.call, approval.ruling
    yield "risk", ", ".join([approval.risk.upper(), *view.flags])
    if lowered(approval):
        yield "", lowered(approval)
    if view.unable:
        yield "WARNING", show.line(view.unable)
    if view.unknown_outcome:
        yield "WARNING", f"the outcome of {view.unknown_outcome} is unknown: this may have run"
    for caution in cautions(view):
        yield "WARNING", caution
    if view.effect is not None:
        yield "effect", f"{show.line(view.effect.key)} ({view.effect.state})"
    client = f"{call.client.name} {call.client.version}".strip()
    says = f'; its program says it is "{show.line(client)}"' if client else ""
    yield "agent", f"{show.line(call.grant_label)} ({call.grant}){says}"
    yield "session", f"{call.session_calls} calls so far; asked {approval.attempts} times"
    yield "held because", show.line(ruling.reason)
    if ruling.matched:
        edited = " as the agent asked" if approval.edited else ""
        yield "matched", show.line(ruling.matched) + edited
    yield "rule", ruling.rule
    yield "state", standing(view)
    if approval.state is State.PENDING:
        left = show.span(view.seconds_left * 1000)
        yield "deadline", f"{show.moment(approval.expires_at)} (in {left}). {view.at_zero}"
        waits = "waits in place" if view.waiting else "has gone; it may come back for the outcome"
        yield "the agent", waits


def standing(view: View) -> str:
    """Where the approval stands, in one line."""
    approval = view.approval
    if approval.state is State.PENDING:
        needed = f"{view.missing} of {approval.terms.quorum} approvals missing"
        who = f" from {', '.join(approval.terms.reviewers)}" if approval.terms.reviewers else ""
        return f"pending, revision {approval.revision}; {needed}{show.line(who)}"
    words = ["taken back" if taken_back(approval) else f"{approval.state}"]
    if approval.decided_by:
        words.append(f"by {show.line(approval.decided_by)} ({approval.decided_via})")
    words.append(show.moment(approval.decided_at))
    if approval.reason:
        words.append(f'"{show.line(approval.reason)}"')
    text = " ".join(word for word in words if word)
    if approval.state is State.APPROVED:
        text += f"; execution: {str(approval.execution).replace('_', ' ')}"
        if runs_from(approval):
            text += f", no sooner than {show.moment(runs_from(approval))}"
        if approval.settlement is not None:
            text += f", settled as {str(approval.settlement).replace('_', ' ')}"
    return text


def _draw_since(name: str, since: Since) -> None:
    by = f"{since.approval_id[:10]} by {show.line(since.by)}, {show.moment(since.at)}"
    about = f" with the same {show.line(since.about)}" if since.about else ""
    if not since.changes:
        print(f"the same as last {name}{about} ({by})")
        return
    print(f"changed since last {name}{about} ({by})")
    for change in since.changes:
        before = "absent" if change.before.type == "absent" else show.line(change.before.text)
        after = "absent" if change.after.type == "absent" else show.line(change.after.text)
        print(f"  {change.path}: {before} -> {after}")


def _written(value: Value) -> str:
    marks = [value.type]
    if value.cut:
        marks.append(f"{value.size} characters, cut here")
    if value.hidden:
        marks.append(f"{value.hidden} hidden characters shown as \\u")
    marks += value.odd
    head = f"  {value.path} ({', '.join(marks)})"
    if "\n" in value.text or len(value.text) > _WIDE:
        return f"{head}\n{show.block(value.text, '    ')}"
    return f"{head} {value.text}"

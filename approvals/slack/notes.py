"""What is said beside the cards: notes in their threads, reminders, a crowd's digest. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from approvals.model import RISKS, Approval, Choice, Millis, Settlement, State
from approvals.slack import action_values
from approvals.slack.blocks import (
    Json,
    MessageBody,
    actions,
    bullets,
    button,
    context,
    face,
    header,
    line,
    ours,
    plain,
    rich,
    said,
    section,
)
from approvals.slack.card import RISK_WORDS, edited, outcome
from approvals.slack.card_context import CardContext
from approvals.slack.text import fit, harmless, utc, visible, when
from approvals.view import View

_LISTED: Final = 8  # tools of a digest
_OUTCOMES: Final = frozenset(
    (
        *("succeeded", "tool_error", "upstream_error", "not_executed", "input_required"),
        "outcome_unknown",
    )
)


def note(kind: str, view: View, look: CardContext, *, at: Millis) -> MessageBody | None:
    """What the thread is told of a change at that time; None where the card says enough."""
    approval = view.approval
    if kind in _OUTCOMES:
        word, sentence = outcome(approval, at)
        return _note(f"{word}. {sentence}{_took(approval)}")
    match kind:
        case "voted":
            given = [one for one in view.votes if one.at <= at and one.choice is Choice.APPROVE]
            who = given[-1].reviewer if given else "Someone"
            return _note(f"{who} approved: {len(given)} of {approval.terms.quorum}.")
        case "edited":
            told = edited(view.edit, look) if view.edit else "The arguments were changed."
            text = f"{told} This is revision {approval.revision}."
            people = ", ".join(sorted({vote.reviewer for vote in view.voided}))
            return _note(f"{text} Approvals that no longer count: {people}." if people else text)
        case "extended":
            return _note(f"More time: it now expires at {utc(approval.expires_at)}.")
        case "taken_back":
            return _note(f"{approval.decided_by} took the approval back. Nothing ran.")
        case "settled":
            ran = "it ran" if approval.settlement is Settlement.DONE else "it did not run"
            return _note(f"The unknown outcome was settled: {ran}.")
        case _:
            return None


def reminder(approval: Approval, number: int, mentions: Sequence[str] = ()) -> MessageBody:
    """That it still waits: in words of ours alone. The last one calls those who have to decide."""
    first = number <= 1
    called = "" if first else " ".join(mentions)
    start = "Still waiting: half of the time is over." if first else "Last reminder: still waiting."
    text = f"{start} It expires {when(approval.expires_at)}, which counts as a denial."
    short = f"{start} It expires at {utc(approval.expires_at)}, which counts as a denial."
    return face(short, [section("note", ours(f"{text} {called}".strip()))])


def digest(approvals: Sequence[Approval], look: CardContext, *, now: Millis) -> MessageBody:
    """One message for the calls of an agent that came too fast for a card each. Decides nothing."""
    waiting = [one for one in approvals if one.state is State.PENDING and one.expires_at > now]
    agent = approvals[0].call.grant_label or approvals[0].call.grant if approvals else ""
    if not waiting:
        text = f"None of these {len(approvals):,} calls waits any more."
        return face(text, [header(text), context("who", [plain(f"Agent {agent}", most=200)])])
    count = len(waiting)
    title = f"{count:,} more {'call waits' if count == 1 else 'calls wait'} for a decision"
    worst = max((one.risk for one in waiting), key=RISKS.index)
    soonest = min(one.expires_at for one in waiting)
    who = f" from {agent}" if harmless(agent) else ""
    return face(
        f"{title}{who}. The first expires at {utc(soonest)}.",
        [
            header(title),
            section(
                "why",
                plain(
                    f"{agent} asks faster than cards can be read. "
                    "These calls are in the queue on the page.",
                    most=500,
                ),
            ),
            rich("calls", [bullets([line(*item) for item in _tools(waiting)])]),
            context(
                "about",
                [
                    ours(f"Highest risk: {RISK_WORDS[worst]}"),
                    ours(f"The first expires {when(soonest)}, then denied"),
                    ours(f"{len(approvals) - count:,} of {len(approvals):,} are decided"),
                ],
            ),
            actions(
                f"digest:{approvals[0].id}:{count}:{len(approvals)}",
                [button(action_values.OPEN, "Open the queue", url=f"{look.url}/", style="primary")],
            ),
        ],
    )


def _tools(waiting: Iterable[Approval]) -> list[tuple[Json, ...]]:
    counted = Counter((one.call.tool, one.call.server) for one in waiting).most_common()
    items: list[tuple[Json, ...]] = [
        (
            said(f"{count:,} × "),  # noqa: RUF001 - a multiplication sign is meant
            said(fit(visible(tool), 128), bold=True),
            said(f" on {fit(visible(server), 64)}"),
        )
        for (tool, server), count in counted[:_LISTED]
    ]
    left = sum(count for _, count in counted[_LISTED:])
    return [*items, (said(f"and {left:,} more"),)] if left else items


def _took(approval: Approval) -> str:
    if approval.claimed_at is None or approval.finished_at is None:
        return ""
    seconds = max(0, approval.finished_at - approval.claimed_at) / 1000
    return f" It took {seconds:.1f} s."


def _note(text: str) -> MessageBody:
    """A note whose words may hold a reviewer's name; the notification leaves that to the blocks."""
    shown = visible(text)
    short = shown if harmless(shown.rstrip(".")) else "There is news about this call."
    return face(short, [section("note", plain(shown, most=600))])

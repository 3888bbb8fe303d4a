"""`signoff pending | show | approve | deny | take-back | extend | settle`: deciding at a terminal.

No one approves unseen: the arguments and their digest are printed first, and a script has to name
the digest it means.
"""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import show as out
from gateway.cli.durations import Duration
from gateway.cli.exits import Exit, Stop
from gateway.cli.ids import view_of

if TYPE_CHECKING:
    from approvals.effects import Mark
    from approvals.model import Approval, Choice, Decided, Reviewer, Settlement
    from approvals.view import View
    from gateway.cli.record import Record

_MOST = 10_000  # lines of one list
_HASH = re.compile(r"[0-9a-f]{12,64}")

Id = Annotated[str, typer.Argument(help="The approval: its id, or an unambiguous beginning.")]
As = Annotated[
    str | None,
    typer.Option("--as", help="Who decides; default: SIGNOFF_REVIEWER, or the only reviewer."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def pending(
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most so many.")] = 200,
    after: Annotated[str, typer.Option(help="Only those behind this approval.")] = "",
    json: Json = False,
) -> None:
    """What waits for a person, the riskiest first."""
    from gateway.cli.record import run

    async def work(record: Record) -> tuple[list[Approval], int, int, int]:
        behind = (await view_of(record, after)).approval.id if after else None
        found = await record.approvals.pending(limit=limit, after=behind)
        _, doubts = await record.approvals.unknown_effects(limit=1)
        return found, await record.approvals.pending_count(), doubts, record.now()

    found, total, doubts, now = run(work)
    whole = len(found) < limit
    if json:
        from web.api import summary_of

        last = None if whole else found[-1].id
        items = [summary_of(one) for one in found]
        out.document("pending", items=items, total=total, next=last)
        return
    if doubts:
        out.note(f"{doubts} effects may have been caused, and no one knows: signoff effects")
    if not found:
        out.note("Nothing is waiting.")
        return

    from gateway.cli import pending_list

    pending_list.draw(found, now)
    if not whole and total > len(found):
        rest = "more" if after else f"{total - len(found)} more"
        out.note(f"{rest} of {total} in all: signoff pending --after {found[-1].id}")
    elif after and sys.stdout.isatty():
        out.note(f"These are the last {len(found)} of {total} calls that wait.")
    elif sys.stdout.isatty():
        out.note("1 call waits." if total == 1 else f"{total} calls wait.")


def effects(
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most so many.")] = 200,
    json: Json = False,
) -> None:
    """What calls may have done and no one knows.

    `signoff settle` says whether they did.
    """
    from gateway.cli.record import run

    async def work(record: Record) -> tuple[tuple[Mark, ...], int]:
        return await record.approvals.unknown_effects(limit=limit)

    found, total = run(work)
    if json:
        from web.effects import item_of

        out.document("effects", items=[item_of(mark) for mark in found], total=total)
        return
    if not found:
        out.note("Nothing is unknown.")
        return
    rows = [
        (mark.holder, mark.key, mark.tool, mark.server, mark.grant_label, out.moment(mark.taken_at))
        for mark in found
    ]
    from gateway.cli import columns
    from gateway.cli.columns import Column

    columns.draw(
        (
            Column("CALL"),
            Column("EFFECT", least=20, alone=True),
            Column("TOOL", least=10),
            Column("SERVER", least=10, goes=1),
            Column("AGENT", least=10),
            Column("SENT"),
        ),
        rows,
    )
    if total > len(found):
        out.note(f"{len(found)} of {total} effects. More: --limit {min(total, _MOST)}")
    else:
        out.total(total, "effect")


def show(
    approval_id: Id,
    json: Json = False,
    unmask: Annotated[
        bool, typer.Option("--unmask", help="Show what is masked; the history keeps who looked.")
    ] = False,
    as_: As = None,
) -> None:
    """One approval as a reviewer sees it, with its sha256."""
    from gateway.cli.record import run

    if unmask:
        print(run(lambda record: _unmasked(record, approval_id, as_)))
        return

    async def work(record: Record) -> View:
        return await view_of(record, approval_id)

    view = run(work)
    if json:
        from web.api import full_of

        out.document("approval", **full_of(view))
        return
    from gateway.cli.card import draw

    draw(view)


def approve(
    approval_id: Id,
    as_: As = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Only together with --hash.")
    ] = False,
    hash_: Annotated[
        str, typer.Option("--hash", help="The beginning (12 or more) of the sha256 you mean.")
    ] = "",
) -> None:
    """Show one call in full and approve exactly that, once."""
    from approvals.model import Choice
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    wanted = hash_.lower()
    if wanted and not _HASH.fullmatch(wanted):
        raise Stop(Exit.USAGE, "--hash takes 12 to 64 hexadecimal digits: see `signoff show ID`.")
    if yes and not wanted:
        raise Stop(Exit.USAGE, "--yes goes only with --hash: what no one saw is not approved.")
    if not yes and not out.interactive():
        raise Stop(
            Exit.USAGE,
            "No one can be asked here. A script writes --yes --hash DIGEST, with the sha256 that "
            "`signoff show ID` printed.",
        )

    async def look(record: Record) -> tuple[Reviewer, View]:
        return await reviewer(record, as_), await _open(record, approval_id)

    who, view = run(look)
    _draw(view)
    if wanted and not view.approval.digest.startswith(wanted):
        raise Stop(
            Exit.DENIED, "Not approved: the call is another one than --hash names; see above."
        )
    if not yes and not _sure(view):  # asked while no event loop holds back a Ctrl-C
        raise Stop(Exit.DENIED, "Not approved. It still waits.")
    print(run(lambda record: _decide(record, view, who, Choice.APPROVE, reason)))


def deny(
    approval_id: Id,
    reason: Annotated[str, typer.Option(help="Why; the agent is told this.")],
    as_: As = None,
) -> None:
    """Deny one call. The reason reaches the agent."""
    from approvals.model import Choice
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    if not reason.strip():
        raise Stop(Exit.USAGE, "A denial needs a reason: it reaches the agent.")

    async def work(record: Record) -> str:
        who = await reviewer(record, as_)
        view = await _open(record, approval_id)
        _draw(view)
        return await _decide(record, view, who, Choice.DENY, reason.strip())

    print(run(work))


def extend(
    approval_id: Id,
    by: Annotated[str, typer.Option(help="How much longer: 30m, 2h.")],
    as_: As = None,
) -> None:
    """Give the reviewers more time, within 30 days in all."""
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    seconds = Duration.parse(by).seconds

    async def work(record: Record) -> str:
        view = await _open(record, approval_id)
        who = await reviewer(record, as_)
        decided = await record.approvals.extend(
            view.approval.id, reviewer=who, seconds=seconds, via="cli"
        )
        moved = _stands(decided)
        return f"{moved.id} now expires {out.moment(moved.expires_at)}."

    print(run(work))


def take_back(
    approval_id: Id,
    as_: As = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "",
) -> None:
    """Take an approval back, until its call has started."""
    from approvals.taking_back import TooLate
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    async def work(record: Record) -> str:
        view = await view_of(record, approval_id)
        who = await reviewer(record, as_)
        done = await record.approvals.take_back(
            view.approval.id, reviewer=who, via="cli", reason=reason.strip()
        )
        if isinstance(done, TooLate):
            raise Stop(Exit.NOT_FOUND, out.line(done.why))
        return f"{_stands(done).id} is taken back by {who.id}. Nothing ran."

    print(run(work))


class Settled(StrEnum):
    """What a reviewer found out."""

    DONE = "done"
    NOT_DONE = "not-done"


def settle(
    call: Annotated[str, typer.Argument(help="The approval, or the allowed call (call_…).")],
    outcome: Annotated[Settled, typer.Argument(help="Whether it happened.")],
    note: Annotated[str, typer.Option(help="How you know.")],
    as_: As = None,
) -> None:
    """Say what became of a call whose outcome is unknown. Nothing is sent again."""
    from approvals.model import Settlement
    from gateway.cli.acting import reviewer
    from gateway.cli.record import run

    if not note.strip():
        raise Stop(Exit.USAGE, "Say in --note how you know.")

    async def work(record: Record) -> str:
        if call.startswith("call_"):
            who = await reviewer(record, as_)
            said = Settlement(outcome.replace("-", "_"))
            return await _settle_effect(record, call, who, said, note.strip())
        view = await view_of(record, call)
        who = await reviewer(record, as_)
        if view.approval.execution != "outcome_unknown":
            said = Settlement(outcome.replace("-", "_"))
            if view.approval.effect is not None:  # it asked back, and no one went on with it
                return await _settle_effect(record, view.approval.id, who, said, note.strip())
            raise Stop(Exit.NOT_FOUND, f"There is nothing to settle: {_standing(view)}.")
        decided = await record.approvals.settle(
            view.approval.id,
            reviewer=who,
            settlement=Settlement(outcome.replace("-", "_")),
            note=note.strip(),
            via="cli",
        )
        return f"{_stands(decided).id} is settled as {outcome}."

    print(run(work))


async def _settle_effect(
    record: Record, holder: str, who: Reviewer, settlement: Settlement, note: str
) -> str:
    """Settle what a call may have done.

    Raises:
        Stop: nothing of it is unknown, or this person may not.
    """
    from approvals.model import EffectKnown, EffectSettled, NotAllowed

    match await record.approvals.settle_effect(
        holder, reviewer=who, settlement=settlement, note=note, via="cli"
    ):
        case EffectSettled():
            return f"{holder} is settled as {str(settlement).replace('_', '-')}."
        case EffectKnown(state=state):
            raise Stop(Exit.NOT_FOUND, f"There is nothing to settle: it is {state}.")
        case NotAllowed(why):
            raise Stop(Exit.DENIED, why)
        case _:
            raise Stop(Exit.NOT_FOUND, f"Nothing that {out.line(holder)} did is unknown.")


async def _unmasked(record: Record, approval_id: str, as_: str | None) -> str:
    """The arguments without the masks this person may look behind.

    Raises:
        Stop: there is no such approval, or nothing this person may look behind.
    """
    from json import dumps, loads

    from approvals.model import NotFound
    from approvals.reveal import Revealed
    from gateway.cli.acting import reviewer

    view = await view_of(record, approval_id)
    who = await reviewer(record, as_)
    found = await record.approvals.reveal(view.approval.id, reviewer=who, via="cli")
    if isinstance(found, Revealed):
        return out.block(dumps(loads(found.arguments), ensure_ascii=False, indent=2))
    if isinstance(found, NotFound):
        raise Stop(Exit.NOT_FOUND, "There is no such approval.")
    raise Stop(Exit.DENIED, found.why)


async def _open(record: Record, approval_id: str) -> View:
    """The view of an approval that still waits.

    Raises:
        Stop: there is none, or it was decided; the text says who won.
    """
    view = await view_of(record, approval_id)
    if view.approval.state != "pending":
        raise Stop(Exit.NOT_FOUND, f"Already decided: {_standing(view)}.")
    return view


def _standing(view: View) -> str:
    from gateway.cli.card import standing

    return standing(view)


def _draw(view: View) -> None:
    from gateway.cli.card import draw

    draw(view)
    sys.stdout.flush()


def _sure(view: View) -> bool:
    """Ask. High risk is not approved by one key: the tool's name has to be typed."""
    tool = view.approval.call.tool
    if not view.approval.grave:
        return out.asked("Approve exactly this call, once?")
    print(f"High risk. Type the tool's name to approve ({out.line(tool)}): ", end="", flush=True)
    return sys.stdin.readline().strip() == tool


async def _decide(record: Record, view: View, who: Reviewer, choice: Choice, reason: str) -> str:
    from approvals.model import Counted, Vote

    decided = await record.approvals.decide(
        view.approval.id,
        Vote(
            revision=view.approval.revision,
            reviewer=who,
            choice=choice,
            reason=reason,
            via="cli",
            view_digest=view.digest,
        ),
    )
    if isinstance(decided, Counted):
        return f"Counted for {who.id}. Distinct people still to approve: {decided.missing}."
    moved = _stands(decided)
    if moved.state == "denied":
        return f"Denied by {who.id}."
    left = out.span(moved.terms.use_within * 1000)
    then = "The agent waits and gets it now." if view.waiting else f"Usable once within {left}."
    if moved.terms.undo:
        undo = out.span(moved.terms.undo * 1000)
        then = f"It starts in {undo} at the soonest; until then: signoff take-back {moved.id}"
    return f"Approved by {who.id}. {then}"


def _stands(decided: Decided) -> Approval:
    """The approval after a move that stands.

    Raises:
        Stop: it does not stand; the text says why and who won.
    """
    from approvals.model import AlreadyDecided, Counted, Moved, NotAllowed, Stale

    match decided:
        case Moved(approval) | Counted(approval):
            return approval
        case AlreadyDecided(approval):
            who = f" by {out.line(approval.decided_by)}" if approval.decided_by else ""
            why = f': "{out.line(approval.reason)}"' if approval.reason else ""
            raise Stop(Exit.NOT_FOUND, f"Already {approval.state}{who}{why}.")
        case Stale(approval):
            raise Stop(
                Exit.NOT_FOUND,
                f"It was edited meanwhile: revision {approval.revision} waits. Look at it again.",
            )
        case NotAllowed(why):
            raise Stop(Exit.DENIED, why)
        case _:
            raise Stop(Exit.NOT_FOUND, "There is no such approval.")

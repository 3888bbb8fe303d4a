"""Keeps Slack up to date with the record: cards, notes in their threads, reminders, digests.

Every notice draws the approval as it stands now, in every channel where it is shown; what is told
twice or late shows nothing wrong. Decides nothing. Not pure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from approvals.model import Approval, Execution, Reviewer, State
from approvals.outbox import Notice
from approvals.outbox_worker import DeliveryRetry, GiveUp, NotYet
from approvals.record.database import Clock, Database
from approvals.reminders import KIND as REMINDER
from approvals.reviewers import everyone
from approvals.slack import messages, notes
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.blocks import MessageBody
from approvals.slack.card import bare, card
from approvals.slack.card_context import CardContext, mentions
from approvals.slack.config import SlackConfig
from approvals.slack.health import OUTBOUND, SlackHealth
from approvals.slack.messages import COLLAPSED, Sent
from approvals.slack.pacing import Lanes
from approvals.slack.sending import Closed, Sending, Wanted
from approvals.view import View, view_of

log = structlog.get_logger()

DIRECT: Final = "direct"
"""A rule's channel that means: a direct message to each reviewer it names."""

DIGEST_MS: Final = 3_000
"""Milliseconds between two changes of a digest."""

NOWHERE: Final = "No channel is set, and a rule names no one in Slack: its calls are not announced."

_MOST_DIRECT: Final = 10
_PERSON: Final = re.compile(r"slack:([TE][A-Z0-9]{1,63})/([UW][A-Z0-9]{1,63})")


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a notice is about, read at once."""

    view: View
    shown: tuple[Sent, ...]
    people: tuple[Reviewer, ...]


class SlackNotifier:
    """The notifier of one workspace."""

    def __init__(
        self,
        config: SlackConfig,
        api: SlackApi,
        *,
        database: Database,
        clock: Clock,
        health: SlackHealth,
        lanes: Lanes | None = None,
    ) -> None:
        self._api = api
        self._health = health
        self._database = database
        self._clock = clock
        self._channel = config.channel
        self._look = CardContext(
            config.page_url.rstrip("/"), config.show_arguments, config.team_id or ""
        )
        self._sending = Sending(api, database, lanes or Lanes(clock))

    async def sync(self, delivery: Notice) -> None:
        """Bring every message of the approval up to date, and tell their threads.

        Raises:
            Retry, NotYet: some of it could not be sent now.
            GiveUp: the approval is gone.
        """
        try:
            await self._sync(delivery)
            await self._well_again()
        finally:
            troubles = self._sending.troubles
            if troubles:
                self._health.wrong(OUTBOUND, " ".join(dict.fromkeys(troubles.values())))
            else:
                self._health.well(OUTBOUND)

    async def _sync(self, delivery: Notice) -> None:
        await self._know_team()
        scene = await self._scene(delivery.approval_id)
        if scene is None:
            raise GiveUp("the approval is gone")
        if delivery.kind == REMINDER and not self._waits(scene.view.approval):
            return
        if self._matters(scene.view.approval):
            scene = await self._placed(scene, again=delivery.kind == REMINDER)
        places = {(sent.channel, sent.ts) if sent.ts else sent.id: sent for sent in scene.shown}
        await _all_of(self._in_one(delivery, scene, sent) for sent in places.values())

    async def adopt(self, approval_id: str, channel: str, ts: str) -> None:
        """A card of ours that the record does not know (it was posted twice): from now on it is
        kept up to date like the others, beginning now.
        """
        new = await self._database.journal.write(
            partial(messages.adopt, approval_id=approval_id, channel=channel, ts=ts)
        )
        if not new:
            return
        for sent in await self._database.read(
            partial(messages.of_approval, approval_id=approval_id)
        ):
            if (sent.channel, sent.ts) == (channel, ts):
                try:
                    await self._card(sent)
                except (DeliveryRetry, NotYet, Closed) as error:
                    log.info("slack.adopted_later", approval=approval_id, why=str(error))

    async def _scene(self, approval_id: str) -> _Scene | None:
        now = self._clock.now()

        def read(connection: Connection) -> _Scene | None:
            view = view_of(connection, approval_id, now=now)
            if view is None:
                return None
            people = tuple(everyone(connection))
            return _Scene(view, messages.of_approval(connection, approval_id), people)

        return await self._database.read(read)

    async def _placed(self, scene: _Scene, *, again: bool) -> _Scene:
        """The scene with a message for every channel the approval belongs in; `again` also tries
        channels that were closed to us.
        """
        approval = scene.view.approval
        write = self._database.journal.write
        known = {sent.target for sent in scene.shown}
        targets = [one for one in self._targets(approval, scene.people) if one not in known]
        again = again and any(sent.state == messages.FAILED for sent in scene.shown)
        if not targets and not again:
            return scene
        if again:
            await write(partial(messages.reopen, approval_id=approval.id))
        for target in targets:
            await write(partial(messages.place, approval=approval, target=target))
        shown = await self._database.read(partial(messages.of_approval, approval_id=approval.id))
        return replace(scene, shown=shown)

    def _targets(self, approval: Approval, people: tuple[Reviewer, ...]) -> tuple[str, ...]:
        """Where it is announced: the rule's channel, else the default one; `direct`, and no
        channel at all, mean the people whom the rule names.
        """
        wanted = approval.terms.channel or self._channel
        if wanted is not None and wanted != DIRECT:
            self._sending.troubles.pop(DIRECT, None)
            return (wanted,)
        direct = self._named(approval, people)
        if direct:
            self._sending.troubles.pop(DIRECT, None)
            return direct
        if self._channel is not None:
            return (self._channel,)
        self._sending.troubles[DIRECT] = NOWHERE
        log.warning("slack.nowhere", approval=approval.id)
        return ()

    def _named(self, approval: Approval, people: tuple[Reviewer, ...]) -> tuple[str, ...]:
        """The Slack accounts of the reviewers a rule names."""
        by_name = {name: one for one in people for name in one.names()}
        found: dict[str, None] = {}
        for name in approval.terms.reviewers:
            linked = by_name[name].names() if name in by_name else {name}
            for identity in sorted(linked):
                account = _PERSON.fullmatch(identity)
                if account is not None and account[1] == self._look.team:
                    found[account[2]] = None
        return tuple(found)[:_MOST_DIRECT]

    async def _in_one(self, delivery: Notice, scene: _Scene, sent: Sent) -> None:
        """One channel: the message itself, then its thread."""
        try:
            if sent.kind == COLLAPSED:
                top = await self._digest(sent.parent, force=delivery.kind == REMINDER)
            else:
                top = await self._card(sent, anyway=delivery.kind == REMINDER)
        except Closed as closed:
            await self._elsewhere(scene, sent, closed)
            return
        if top is None:
            return
        if delivery.kind == REMINDER:
            number = f"{top.id}/reminder-{delivery.reminder}"
            approval = scene.view.approval
            await self._note(
                number,
                top,
                approval,
                notes.reminder(
                    approval,
                    delivery.reminder,
                    mentions(scene.view, self._look, scene.people),
                ),
            )
        elif sent.kind != COLLAPSED:
            said = notes.note(delivery.kind, scene.view, self._look, at=delivery.at)
            if said is not None:
                await self._note(f"{delivery.id}/{top.id}", top, scene.view.approval, said)

    async def _elsewhere(self, scene: _Scene, sent: Sent, closed: Closed) -> None:
        """The channel is closed to us: what still waits goes to the default one."""
        approval = scene.view.approval
        if self._channel is None or sent.target == self._channel or not self._waits(approval):
            return
        log.warning("slack.elsewhere", approval=approval.id, why=closed.code)
        await self._database.journal.write(
            partial(messages.place, approval=approval, target=self._channel)
        )
        for other in await self._database.read(
            partial(messages.of_approval, approval_id=approval.id)
        ):
            if other.target == self._channel:
                try:
                    await (
                        self._digest(other.parent) if other.kind == COLLAPSED else self._card(other)
                    )
                except Closed:
                    return

    async def _card(self, sent: Sent, *, anyway: bool = False) -> Sent | None:
        async def draw() -> Wanted:
            now = self._clock.now()
            scene = await self._scene(sent.approval_id)
            if scene is None:
                raise GiveUp("the approval is gone")
            view, called = scene.view, mentions(scene.view, self._look, scene.people)
            return Wanted(
                card(view, self._look, now=now),
                view.approval,
                new=card(view, self._look, now=now, called=called) if not sent.ts else None,
                wanted=self._matters(view.approval),
                bare=partial(bare, view, self._look, now=now),
                anyway=anyway and self._waits(view.approval),
            )

        return await self._sending.show(sent, draw)

    async def _digest(self, digest_id: str, *, force: bool = False) -> Sent | None:
        sent = await self._database.read(partial(messages.find, message_id=digest_id))
        if sent is None:
            return None
        left = sent.at + DIGEST_MS - self._clock.now()

        async def draw() -> Wanted:
            approvals = await self._database.read(
                partial(messages.collapsed_in, digest_id=digest_id)
            )
            drawn = notes.digest(approvals, self._look, now=self._clock.now())
            wanted = any(map(self._waits, approvals))
            return Wanted(drawn, approvals[0], wanted=wanted, anyway=force and wanted)

        if sent.ts and left > 0 and await self._sending.is_behind(sent, draw):
            raise NotYet("the digest was changed just now", after=left / 1000)
        return await self._sending.show(sent, draw)

    async def _note(self, note_id: str, top: Sent, approval: Approval, said: MessageBody) -> None:
        async def draw() -> Wanted:
            return Wanted(said, approval, wanted=True, thread=top.ts, once=True)

        await self._database.journal.write(partial(messages.put_note, note_id=note_id, under=top))
        sent = await self._database.read(partial(messages.find, message_id=note_id))
        if sent is None or sent.ts:
            return
        try:
            await self._sending.show(sent, draw)
        except Closed as closed:
            log.info("slack.note_refused", approval=approval.id, why=closed.code)

    def _waits(self, approval: Approval) -> bool:
        return approval.state is State.PENDING and approval.expires_at > self._clock.now()

    def _matters(self, approval: Approval) -> bool:
        """Whether someone has to do something about it: only then is it worth a new message."""
        unknown = approval.execution is Execution.OUTCOME_UNKNOWN and approval.settlement is None
        return self._waits(approval) or unknown

    async def _know_team(self) -> None:
        """Which workspace this is: only its own accounts are mentioned or written to."""
        if self._look.team:
            return
        try:
            told = await self._api.read("auth.test")
        except (Limited, Unreachable, Denied):
            return  # the send that follows says what is wrong
        self._look = replace(self._look, team=str(told.get("team_id") or ""))

    async def _well_again(self) -> None:
        """When nothing was left to send, ask whether Slack takes our token again."""
        if "" not in self._sending.troubles:
            return
        try:
            await self._api.read("auth.test")
        except (Limited, Unreachable, Denied):
            return
        self._sending.troubles.pop("", None)


async def _all_of(works: Iterable[Awaitable[None]]) -> None:
    """Each channel by itself: one that fails holds up no other. The longest wait is raised."""
    done = await asyncio.gather(*works, return_exceptions=True)
    failed = [one for one in done if isinstance(one, BaseException)]
    for kind in (DeliveryRetry, NotYet):
        waits = [one for one in failed if isinstance(one, kind)]
        if waits:
            raise max(waits, key=lambda one: one.after or 0.0)
    if failed:
        raise failed[0]

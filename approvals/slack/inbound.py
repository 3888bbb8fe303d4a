"""Everything Slack sends in, over Socket Mode or HTTP: `handle` gives the acknowledgement at once
and the work to do after it. The only inbound place that knows action ids. Not pure.

Nothing here decides: a press becomes a decision of a proven person, and the row says who was first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from approvals.digest import all_keepable
from approvals.model import Approval, Reviewer, Settlement
from approvals.owned_tasks import OwnedTasks
from approvals.phrases import ASKED
from approvals.record.database import RecordUnavailable
from approvals.slack import home, modals
from approvals.slack.action_values import (
    APPROVE,
    ASK,
    DENY,
    DONE,
    EDIT,
    NOT_DONE,
    OPEN,
    TAKE_BACK,
)
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.card_context import CardContext
from approvals.slack.config import SlackConfig
from approvals.slack.decision_messages import FAILED, NOT_READY, RECORD_DOWN, TOO_LATE
from approvals.slack.decisions import Deciding
from approvals.slack.ephemeral import EphemeralListener, Whispers
from approvals.slack.identity import UNSURE, Account, UnprovenAccount
from approvals.slack.payloads import SlackPress, account_in, foreign, press_in
from approvals.slack.pending_list import PendingList
from approvals.slack.testcard import TEST
from approvals.slack.workspace import Pinned

log = structlog.get_logger()

Json = dict[str, Any]
Work = Callable[[], Awaitable[None]]
Adopt = Callable[[str, str, str], Awaitable[None]]
"""Has a message (approval, channel, ts) kept up to date from now on, if it is not already."""

SLASH: Final = "slash_command"
"""The `type` both transports give a slash command's payload: Slack gives it none."""

PATIENCE: Final = 2.0
"""Seconds for what must be known before the acknowledgement; Slack waits three."""

MOST_PRESSES: Final = 500
"""Being worked on at once; one more is not acknowledged, so that Slack tells whoever pressed."""
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Ack:
    """What Slack is answered (None: nothing but "received"), and what is done after that."""

    body: Json | None = None
    after: Work | None = None


class Inbound:
    """One app's presses. `pinned` says which workspace and app are ours, once that is known."""

    def __init__(
        self,
        config: SlackConfig,
        api: SlackApi,
        *,
        deciding: Deciding,
        queue: PendingList,
        whispers: Whispers,
        pinned: Callable[[], Pinned | None],
        adopt: Adopt,
    ) -> None:
        self._config = config
        self._api = api
        self._deciding = deciding
        self._queue = queue
        self._whispers = whispers
        self._pinned = pinned
        self._adopt = adopt
        self._tasks = OwnedTasks()
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def handle(self, payload: Mapping[str, Any]) -> Ack:
        """The acknowledgement, within `PATIENCE`. Never raises."""
        try:
            return await self._handle(payload)
        except Exception:  # whatever a payload does, Slack is answered
            log.exception("slack.payload_failed")
            return Ack()

    async def _handle(self, payload: Mapping[str, Any]) -> Ack:
        pinned = self._pinned()
        if pinned is None:
            words = home.sentence(NOT_READY)
            return Ack(words if payload.get("type") == SLASH else None)
        if foreign(payload, team=pinned.team_id, app=pinned.app_id):
            log.warning("slack.foreign", type=str(payload.get("type"))[:40])
            return Ack()
        if not all_keepable(_beside_typed(payload)):  # Slack sends none: no record could keep it
            log.warning("slack.unkeepable", type=str(payload.get("type"))[:40])
            return Ack()
        match payload.get("type"):
            case "block_actions":
                press = press_in(payload, pinned.team_id)
                return Ack() if press is None else self._pressed(press)
            case "view_submission":
                return await self._submitted(payload, pinned.team_id)
            case type_ if type_ == SLASH:
                return await self._asked(payload, pinned.team_id)
            case "event_callback":
                return self._happened(payload, pinned.team_id)
        return Ack()

    def has_room(self, ack: Ack) -> bool:
        """Whether what comes after the acknowledgement can be begun; if not, it is not given."""
        if ack.after is None or len(self._tasks) < MOST_PRESSES:
            return True
        log.error("slack.overrun")
        return False

    def start(self, ack: Ack) -> None:
        """Do what comes after the acknowledgement, as a task of ours."""
        if ack.after is not None:
            self._tasks.start(self._run(ack.after), name="slack press")

    async def idle(self) -> None:
        """Until nothing that was pressed is being worked on."""
        while self._tasks:
            await self._tasks.wait(None)

    async def aclose(self, seconds: float) -> None:
        """Let what was pressed come to its end, at most for so long."""
        await self._tasks.wait(seconds)
        await self._tasks.end()

    async def _run(self, work: Work) -> None:
        async with self._gate:
            try:
                await work()
            except Exception:  # what one press meets must not end the others
                log.exception("slack.press_failed")

    # Buttons.

    def _pressed(self, press: SlackPress) -> Ack:
        if press.action in (APPROVE, TAKE_BACK, DENY, ASK, EDIT, DONE, NOT_DONE):
            return Ack(after=lambda: self._told(press.listener, self._act(press)))
        if press.action == TEST:
            return Ack(after=lambda: self._test(press))
        if press.action != OPEN:  # a link opens by itself, and still has to be acknowledged
            log.warning("slack.unknown_action", action=press.action[:40])
        return Ack()

    async def _act(self, press: SlackPress) -> UnprovenAccount | str:
        if press.pressed is None:
            log.warning("slack.malformed_value", action=press.action)
            return ""
        if press.action == APPROVE:
            words = await self._deciding.approve(press.account, press.pressed)
            if words == "":
                await self._receipt(press, "Approved.")
        elif press.action == TAKE_BACK:
            words = await self._deciding.take_back(press.account, press.pressed)
        else:
            words = await self._form(press)
        if not isinstance(words, UnprovenAccount) and press.origin.ts and not press.private:
            # Slack may hold a card twice, when the gateway died between posting and noting it.
            origin = press.origin
            await self._adopt(press.pressed.approval_id, origin.channel, origin.ts)
        return words

    async def _receipt(self, press: SlackPress, words: str) -> None:
        """A card in a channel is brought up to date by the outbox; other places are ours."""
        if press.private:
            await self._whispers.replace(press.listener, words)
        if press.home:
            await self._queue.publish(press.account)

    async def _form(self, press: SlackPress) -> UnprovenAccount | str:
        """Open the modal at once: its trigger lives three seconds and works once."""
        pressed = press.pressed
        assert pressed is not None  # noqa: S101 - `_act` looked
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._deciding.look(press.account, pressed)
        except TimeoutError:
            return TOO_LATE
        if not isinstance(found, tuple):
            return found
        view = await self._view(press, found[0])
        if view is None:
            link = CardContext(self._config.page_url).link(found[0])
            return f"These arguments are changed on the page: {link}"
        try:
            await self._api.write("views.open", {"trigger_id": press.trigger, "view": view})
        except (Denied, Limited, Unreachable) as error:
            log.warning("slack.no_form", why=str(error))
            return TOO_LATE
        return ""

    async def _view(self, press: SlackPress, approval: Approval) -> Json | None:
        if press.action == DENY:
            return modals.deny(approval, press.origin)
        if press.action == ASK:
            return modals.ask(approval, press.origin)
        if press.action in (DONE, NOT_DONE):
            return modals.settle(approval, press.origin, press.action)
        return (
            await self._deciding.form(approval, press.origin)
            if self._config.show_arguments
            else None
        )

    async def _test(self, press: SlackPress) -> None:
        """The button of `signoff doctor`'s card: says that presses arrive, and whose this is."""
        found = await self._queue.reader(press.account)
        if isinstance(found, Reviewer):
            words = f"It works: the press arrived, and you decide as {found.id}."
        else:
            words = f"The press arrived. {found.why}"
        await self._whispers.answer(press.listener, words)

    # Modals.

    async def _submitted(self, payload: Mapping[str, Any], team: str) -> Ack:
        view = payload.get("view")
        account = account_in(payload, team)
        if account is None or not isinstance(view, dict):
            return Ack()
        callback = view.get("callback_id")
        if callback not in (DENY, ASK, EDIT, DONE, NOT_DONE):
            return Ack()
        found = modals.submitted(view)
        if found is None:
            return _wrong(modals.REASON if callback != EDIT else modals.ARGUMENTS, FAILED)
        listener = EphemeralListener(account.user, found.origin.channel)
        if callback == EDIT:
            return await self._edited(account, found, view, listener)
        reason = modals.reason_in(view)
        if callback in (DONE, NOT_DONE):
            return self._settled(account, found, listener, str(callback), reason)
        if not reason:
            missing = "Say why" if callback == DENY else "Say what to change"
            return _wrong(modals.REASON, f"{missing}: it reaches the agent.")
        why = ASKED + reason if callback == ASK else reason

        async def deny() -> None:
            await self._told(
                listener, self._then_home(account, self._deciding.deny(account, found.pressed, why))
            )

        return Ack(after=deny)

    def _settled(
        self,
        account: Account,
        found: modals.Submitted,
        listener: EphemeralListener,
        action: str,
        note: str,
    ) -> Ack:
        """A person found out whether an earlier call did what this one does."""
        if not note:
            return _wrong(modals.REASON, "Say what you found.")
        settlement = Settlement.DONE if action == DONE else Settlement.NOT_DONE
        work = self._deciding.settle_effect
        return Ack(
            after=lambda: self._told(listener, work(account, found.pressed, settlement, note))
        )

    async def _edited(
        self, account: Account, found: modals.Submitted, view: Json, listener: EphemeralListener
    ) -> Ack:
        try:
            async with asyncio.timeout(PATIENCE):
                proposed = await self._deciding.proposed(found.pressed, view)
        except (TimeoutError, RecordUnavailable):
            return _wrong(modals.ARGUMENTS, RECORD_DOWN)
        if isinstance(proposed, str):
            return _wrong(modals.ARGUMENTS, proposed)
        arguments = proposed

        async def edit() -> None:
            await self._told(listener, self._deciding.edit(account, found.pressed, arguments))

        return Ack(after=edit)

    async def _then_home(
        self, account: Account, work: Awaitable[UnprovenAccount | str]
    ) -> UnprovenAccount | str:
        words = await work
        if words == "":
            await self._queue.refresh(account)
        return words

    # The queue.

    async def _asked(self, payload: Mapping[str, Any], team: str) -> Ack:
        account = account_in(payload, team)
        if account is None:
            return Ack()
        text = payload.get("text")
        try:
            async with asyncio.timeout(PATIENCE):
                body = await self._queue.answer(account, text if isinstance(text, str) else "")
        except TimeoutError:
            body = home.sentence(UNSURE.why)
        except RecordUnavailable:
            body = home.sentence(RECORD_DOWN)
        except Exception:  # the person is answered whatever happened
            log.exception("slack.command_failed")
            body = home.sentence(FAILED)
        return Ack(body)

    def _happened(self, payload: Mapping[str, Any], team: str) -> Ack:
        event = payload.get("event")
        account = account_in(payload, team)
        if account is None or not isinstance(event, dict):
            return Ack()
        if event.get("type") != "app_home_opened" or event.get("tab", "home") != "home":
            return Ack()
        return Ack(after=lambda: self._queue.publish(account))

    async def _told(
        self, listener: EphemeralListener, work: Awaitable[UnprovenAccount | str]
    ) -> None:
        """Do the work, and tell the person what came of it when the card does not."""
        try:
            words = await work
        except RecordUnavailable:
            words = RECORD_DOWN
        except Exception:  # the person is told whatever happened
            log.exception("slack.press_failed")
            words = FAILED
        if isinstance(words, UnprovenAccount):
            log.info("slack.refused", user=listener.user)
            await self._whispers.refuse(listener, words.why)
        elif words:
            await self._whispers.answer(listener, words)


def _wrong(block_id: str, words: str) -> Ack:
    return Ack({"response_action": "errors", "errors": {block_id: words}})


def _beside_typed(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """All of it but what a person typed into a form, of which `modals` keeps what is readable."""
    view = payload.get("view")
    if not isinstance(view, dict):
        return payload
    return {**payload, "view": {name: view[name] for name in view if name != "state"}}

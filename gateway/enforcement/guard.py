"""The ten steps of a call (gateway/README.md): the only place where their order matters.

    judge -> record the verdict, its counters and the row in one transaction -> only then act

`admit` is steps 2 to 6, `claim` step 8, `finish` and `passed` step 10; waiting (7) and sending (9)
are the relay's. If the record cannot be written, `RecordUnavailable` is raised and nothing is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from json import loads
from typing import Any

from approvals import execution, leases, queue
from approvals.aside import aside, elsewhere
from approvals.differences import Path, text
from approvals.digest import canonical, digest_of, sha256
from approvals.execution import RunEnd
from approvals.model import Approval, Call, EffectClaim, Event, Execution, Millis, Ruling
from approvals.record.database import Database, Transaction
from approvals.redact import masked, plain, visible
from gateway.enforcement import input_schema, limits, refusals
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grant
from gateway.enforcement.policy_file import PolicyFile, Waiting
from gateway.enforcement.recording import (
    RETRY_PENDING,
    Admission,
    Allowed,
    Held,
    RefusedByPolicy,
    Retried,
    Spent,
    Unasked,
    call_ids,
    record_allowed,
    record_denial,
    record_held,
    record_orphans,
    record_outcome,
)
from gateway.enforcement.refusal_tally import Tally
from gateway.enforcement.refusal_texts import reads_as_ours
from gateway.enforcement.refusals import Refusal
from gateway.policy import terms
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import (
    QUARANTINED,
    Allow,
    Deny,
    Hold,
    Verdict,
    can_hold,
    hidden,
    judge,
    redact_paths,
)
from gateway.policy.limit import Charge
from gateway.policy.rules import Policy

UNKNOWN = "(unknown argument)"
"""The rule that refuses a name which the tool's definition does not know and does not allow."""

_NAME_ROOM = 80  # characters of such a name that the agent is told

FROZEN = "(frozen)"
"""The rule an agent is told when an operator has stopped it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The approved call is ours to send, once. `approval.call.arguments` are what to send."""

    approval: Approval
    owner: str  # of this claim alone; its lease is renewed until it is let go
    charges: tuple[Charge, ...] = ()  # what it took of the limits


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """The row moved on or another gateway has it: look at it again."""


class Guard:
    """Judges, records, holds and lets go."""

    def __init__(
        self,
        *,
        database: Database,
        policies: PolicyFile,
        catalogue: Catalogue,
        freezes: Freezes,
        trusted: frozenset[str],
        default_hold: int,
        max_pending: int,
        max_withdrawn: int = 60,
        lease_seconds: float,
        process: str,
    ) -> None:
        self._journal = database.journal
        self._policies = policies
        self._catalogue = catalogue
        self._freezes = freezes
        self._trusted = trusted  # servers whose annotations may loosen rules
        self._fingerprint = database.keys.fingerprint
        self._policy_told = policies.current.hash
        self._max_pending = max_pending
        self.default_hold = default_hold
        self.process = process
        """This gateway's, as the record knows it: calls wait at it, and it sends them."""
        self._causing: set[str] = set()  # allowed calls with an effect that this process sends
        self._owners: set[str] = set()  # of the claims this process is sending
        self._call_ids = call_ids()
        self._clock = database.clock
        self._tally = Tally()
        self._max_withdrawn = max_withdrawn
        self.lease_ms = int(lease_seconds * 1000)
        """For how long a claim stands without a sign of life of the gateway that made it."""

    def hidden(self, server: str, tool: object) -> bool:
        """Whether the tool must be absent from every list. One that is called like the gateway's
        own is, whatever the policy says: its words would be taken for the gateway's.
        """
        if not isinstance(tool, str) or reads_as_ours(tool):
            return True
        return hidden(self._policies.current, server, tool)

    def stopped(self, grant: str, server: str) -> Refusal | None:
        """What an agent is told instead of having anything of this server, while an operator has
        stopped it; None: nothing of it is frozen.
        """
        why = self._freezes.reason(grant, server)
        if why is None:
            return None
        ruling = Ruling(rule=FROZEN, reason=why, policy_hash=self._policies.current.hash)
        return refusals.stopped(ruling)

    def changed_prompt(self) -> Refusal:
        """What an agent is told of a prompt whose change no one has accepted."""
        reason = "The definition of this prompt has changed; a reviewer must accept it first."
        policy = self._policies.current
        return refusals.stopped(Ruling(rule=QUARANTINED, reason=reason, policy_hash=policy.hash))

    def can_hold(self, server: str) -> bool:
        """Whether some call to this server may be held."""
        return can_hold(self._policies.current, server)

    async def admit(
        self,
        call: Call,
        arguments: Mapping[str, Any],
        *,
        grant: Grant,
        follow: Mapping[str, Any] | None = None,
        retried: Retried | None = None,
        answers_alone: bool = False,
    ) -> Allowed | Held | RefusedByPolicy | Spent | Unasked:
        """Judge a call and record the verdict; see the steps in the module's docstring.

        With `follow` a held call becomes a task: this envelope is kept with the row, in the same
        transaction. A `retried` call is judged like any other, but takes no limit again. One with
        `answers_alone` goes on with the approved call whose question they answer, or nowhere.

        Raises:
            RecordUnavailable: the verdict could not be recorded; nothing may be sent.
        """
        tool = self._catalogue.tool(call.server, call.tool)
        if tool is not None and tool.quarantined:
            # Rare, and worth a look: someone may have settled it by the command line.
            await self._catalogue.settled_elsewhere(call.server, call.tool)
            tool = self._catalogue.tool(call.server, call.tool)
        if retried is not None:
            given = retried.answers
            shown = await elsewhere(lambda: self._shown(given))
            retried = replace(retried, answers=shown)
        policy, verdict, text = await self._judged(call, arguments)
        admission = self._admission(
            call,
            grant,
            policy,
            masked=text,
            tool_risk=tool.assessment.risk if tool is not None else None,
            follow=follow,
            retried=retried,
            answers_alone=answers_alone,
        )
        ruled: Allowed | Held | RefusedByPolicy | Spent | Unasked
        match verdict:
            case Deny(ruling=ruling):
                if admission.told:
                    ruled = await self._journal.write(partial(record_denial, admission, ruling))
                else:  # told later, together with others
                    ruled = RefusedByPolicy(refusals.denied(ruling))
            case Allow(claim=None):
                ruled = await self._journal.write(
                    partial(record_allowed, admission, verdict, policy)
                )
            case Allow():
                ruled = await self._admit_once(admission, verdict, policy)
            case Hold():
                ruled = await self._journal.write(partial(record_held, admission, verdict))
        return self._refused(admission, ruled) if isinstance(ruled, RefusedByPolicy) else ruled

    def _admission(self, call: Call, grant: Grant, policy: Policy, **more: Any) -> Admission:
        """What recording needs of a call that was judged, whatever the verdict."""
        return Admission(
            call=call,
            redact=redact_paths(policy, call.server, call.tool),
            digest=digest_of(call),
            arguments_digest=sha256(call.arguments),
            max_pending=self._max_pending,
            grant=grant,
            hold=grant.hold if grant.hold is not None else self.default_hold,
            process=self.process,
            call_id=next(self._call_ids),
            told=not self._tally.full(call.grant, self._clock.now()),
            max_withdrawn=self._max_withdrawn,
            **more,
        )

    def _refused(self, admission: Admission, refused: RefusedByPolicy) -> RefusedByPolicy:
        """Count a refusal."""
        now = self._clock.now()
        rule = str(refused.refusal.meta.get("rule", ""))
        over = self._tally.refused(admission.call, rule, now, told=admission.told)
        if over is not None:
            self._journal.post(partial(_append, over))
        return refused

    def sum_up(self, *, stopping: bool = False) -> None:
        """Put the refusals on record that were only counted, as soon as their minute is over."""
        for row in self._tally.rest() if stopping else self._tally.due(self._clock.now()):
            self._journal.post(partial(_append, row))

    async def _admit_once(
        self, admission: Admission, verdict: Allow, policy: Policy
    ) -> Allowed | Held | RefusedByPolicy | Spent | Unasked:
        """As `admit`, for a call with an effect: from before its key is taken until its end is told
        this process answers for the key. An agent that leaves in between gives it back unused.
        """
        retried = admission.retried
        call_id = admission.call_id if retried is None else retried.call_id
        self._causing.add(call_id)
        write = asyncio.ensure_future(
            self._journal.write(partial(record_allowed, admission, verdict, policy))
        )
        try:
            ruled = await asyncio.shield(write)
        except asyncio.CancelledError:
            write.add_done_callback(partial(self._never_sent, call_id))
            raise
        except BaseException:
            self._causing.discard(call_id)
            raise
        if not isinstance(ruled, Allowed):
            self._causing.discard(call_id)
        return ruled

    def _never_sent(
        self,
        call_id: str,
        write: asyncio.Future[Allowed | Held | RefusedByPolicy | Spent | Unasked],
    ) -> None:
        ruled = None if write.cancelled() or write.exception() else write.result()
        if not isinstance(ruled, Allowed):
            self._causing.discard(call_id)
        elif ruled.round:  # an answer to a question that was asked before: that still stands
            self.passed(ruled, Execution.INPUT_REQUIRED, "", 0)
        else:
            self.passed(ruled, Execution.NOT_EXECUTED, "", 0)

    async def policy_changed(self) -> None:
        """The policy file changed: record it. What a new policy denies is superseded, not left
        to hope.
        """
        policy, waiting = self._policies.current, self._policies.waiting
        await self._journal.write(partial(self._policy_changed, policy, waiting))
        self._policy_told = policy.hash

    async def started(self) -> None:
        """The rules may have changed while no one was here, or what they mean: what waits is judged
        again, as after any change.
        """
        await self._journal.write(self._judge_standing)

    def _policy_changed(self, policy: Policy, waiting: Waiting | None, tx: Transaction) -> None:
        rejected = self._policies.rejected
        told = Event(event="policy_loaded", actor_kind="operator", policy_hash=policy.hash)
        if rejected is not None:
            tx.append(told._replace(event="policy_refused", reason=rejected.text))
        elif waiting is not None:
            tx.append(told._replace(event="policy_waiting", reason=waiting.text[:1000]))
        if (rejected is not None or waiting is not None) and policy.hash == self._policy_told:
            return
        tx.append(told)
        self._judge_standing(tx)

    def _judge_standing(self, tx: Transaction) -> None:
        """What the policy denies now is superseded, not left to hope."""
        policy = self._policies.current
        for approval in queue.standing(tx):
            call = approval.call
            verdict = self._judge(policy, call, loads(call.arguments))
            if isinstance(verdict, Deny) and verdict.ruling.rule != FROZEN:
                why = verdict.ruling.reason or "The policy denies it now."
                queue.supersede(tx, approval.id, why)

    def judge_again(self, tx: Transaction, call: Call, *, held: Approval) -> str | None:
        """Why a reviewer's edited call may not take the place of the held one; None if it may.

        It must fit the tool's schema and the policy in force, and need nothing that the approval
        does not ask for already: an edit is no way around a stricter rule or another effect.
        """
        arguments = loads(call.arguments)
        tool = self._catalogue.tool(call.server, call.tool)
        if tool is None or tool.call_hash != call.tool_hash:
            return "The definition of the tool changed."
        misfit = input_schema.fault(tool.definition.get("inputSchema"), arguments)
        if misfit is not None:
            return misfit
        verdict = self._judge(self._policies.current, call, arguments)
        if isinstance(verdict, Deny):
            return verdict.ruling.reason or "The policy denies it."
        if isinstance(verdict, Hold) and not terms.cover(
            held.terms, terms.at_risk(verdict.terms, held.terms.tool_risk)
        ):
            return "With these values the policy asks for more than this approval does."
        if verdict.effect != held.effect:
            return "With these values the call would have another effect than the one it asked for."
        full = limits.peek(tx, verdict.charges, limits.Subject.of(call))
        return f"The limit {full.limit.counter} has no room for it." if full is not None else None

    def passed(
        self,
        allowed: Allowed,
        execution: Execution,
        result_digest: str,
        latency_ms: int,
        *,
        doubtful: bool = False,
    ) -> None:
        """Record what became of an allowed call. Not waited for: after a crash the call stands as
        allowed, outcome not recorded, and its effect is unknown. With `doubtful`, as
        `record_outcome` has it.
        """
        told = partial(record_outcome, allowed, execution, result_digest, latency_ms)
        if allowed.verdict.claim is None:
            self._journal.post(told)
            return
        self._journal.post(partial(told, doubtful=doubtful))
        self._causing.discard(allowed.call_id)  # last: what is posted is written before a sweep

    async def claim(
        self, approval_id: str, *, answering: int | None = None, answers: Any = None
    ) -> Claim | ClaimLost | RefusedByPolicy:
        """Take an approved call for sending: at most one caller ever gets it. With `answering`,
        take it for sending the answers to the question of that round: at most one caller again.

        The policy, the tool's definition and the limits are checked again in the same transaction:
        a denial supersedes the approval, a full limit leaves it standing.
        """
        given: execution.Answers | None = None
        if answering is not None:
            given = execution.Answers(answering, await elsewhere(lambda: self._shown(answers)))
        claimed = await self._journal.write(
            partial(
                self._claim,
                approval_id=approval_id,
                owner=f"{self.process}.{secrets.token_hex(8)}",
                answering=given,
            )
        )
        if isinstance(claimed, Claim):
            self._owners.add(claimed.owner)
        return claimed

    def let_go(self, claimed: Claim) -> None:
        """This process sends this call no longer. If no end of it is on record by now none will
        be: its lease runs out, and its outcome is unknown.
        """
        self._owners.discard(claimed.owner)

    def renew(self, tx: Transaction) -> None:
        """What this process is sending keeps its lease."""
        for owner in self._owners.copy():
            leases.renew(tx, owner=owner, lease_ms=self.lease_ms)

    def recover(self, tx: Transaction) -> None:
        """What processes that are gone were sending has an unknown outcome and effect."""
        leases.recover(tx, tx.now)
        record_orphans(tx, process=self.process, sending=self._causing.copy())

    async def finish(self, claimed: Claim, end: RunEnd) -> Approval:
        """Record what became of a claimed call; the agent's answer waits for this. Look at the
        approval's `execution`: a lease that ran out meanwhile has made it unknown, and that stays.
        """
        return await self._journal.write(partial(_finish, claimed, end))

    async def stored_result(self, approval_id: str, *, attached_at: Millis) -> bytes | None:
        """The answer of a finished call for an agent that came back, or that waited beside it."""
        return await self._journal.write(
            partial(execution.answer, approval_id=approval_id, attached_at=attached_at)
        )

    async def answered(
        self, *, about: str, grant: str, server: str, tool: str, number: int, answers: Any
    ) -> None:
        """Record what an agent answered to the server's `number`th question, from 1, while its
        call ran: it is sent next. `about`: the approval, or the allowed call.

        Raises:
            RecordUnavailable: it could not be recorded; the answers may not be sent.
        """
        shown = await elsewhere(lambda: self._shown(answers))
        event = Event(
            event="answered",
            approval_id=about if about.startswith("apr_") else None,
            call_id=about if about.startswith("call_") else None,
            actor_kind="agent",
            actor=grant,
            verified="grant",
            via="gateway",
            grant=grant,
            server=server,
            tool=tool,
            data=canonical({"round": number, "answers": shown}).decode(),
        )
        await self._journal.write(lambda tx: tx.append(event))

    def delivered(self, approval_id: str) -> None:
        """The answer was handed over: an identical call is a new call from here on."""
        self._journal.post(partial(execution.deliver, approval_id=approval_id))

    async def waits(self, approval_id: str, *, until: Millis) -> None:
        """The agent waits in place for this approval, `until` then."""
        await self._journal.write(
            partial(queue.present, approval_id=approval_id, until=until, to=self.process)
        )

    async def left(self, approval_id: str) -> None:
        """The agent no longer waits in place."""
        await self._journal.write(partial(queue.detach, approval_id=approval_id, to=self.process))

    async def _judged(
        self, call: Call, arguments: Mapping[str, Any]
    ) -> tuple[Policy, Verdict, str]:
        """The verdict, by what policy, and the arguments as people may see them. By what is in
        force when it returns: a large call is judged beside the event loop, where an operator may
        stop it meanwhile.
        """
        while True:
            policy = self._policies.current
            stopped = self._freezes.reason(call.grant, call.server)
            known = self._known(call)
            judged = await aside(
                len(call.arguments), partial(self._judge_and_mask, policy, call, arguments)
            )
            if (
                policy is self._policies.current
                and stopped == self._freezes.reason(call.grant, call.server)
                and known == self._known(call)
            ):
                return policy, *judged

    def _known(self, call: Call) -> tuple[str, bool] | None:
        """What a verdict rests on of the tool's definition."""
        tool = self._catalogue.tool(call.server, call.tool)
        return (tool.hash, tool.quarantined) if tool is not None else None

    def _judge_and_mask(
        self, policy: Policy, call: Call, arguments: Mapping[str, Any]
    ) -> tuple[Verdict, str]:
        paths = redact_paths(policy, call.server, call.tool)
        shown = (
            masked(call.arguments, paths, key=self._fingerprint)
            if paths or not plain(arguments)
            else call.arguments.decode()
        )
        return self._judge(policy, call, arguments), shown

    def _judge(self, policy: Policy, call: Call, arguments: Mapping[str, Any]) -> Verdict:
        stopped = self._freezes.reason(call.grant, call.server)
        if stopped is not None:
            return Deny(ruling=Ruling(rule=FROZEN, reason=stopped, policy_hash=policy.hash))
        tool = self._catalogue.tool(call.server, call.tool)
        facts = ToolFacts(name=call.tool) if tool is None else tool.facts(self._trusted)
        verdict = judge(
            policy, call, tool=facts, grant=GrantFacts(label=call.grant_label), args=arguments
        )
        if tool is None or isinstance(verdict, Deny):
            return verdict
        unknown = input_schema.unknown_name(tool.definition.get("inputSchema"), arguments)
        return verdict if unknown is None else _unknown(policy, unknown)

    def _shown(self, answers: Any) -> Any:
        """What an agent answered, as the history may keep it."""
        return loads(masked(canonical(answers), (), key=self._fingerprint))

    def _pinned(self, call: Call) -> str:
        """The hash of the tool's pinned definition; "" when the server never listed it."""
        tool = self._catalogue.tool(call.server, call.tool)
        return tool.call_hash if tool is not None else ""

    def _claim(
        self, tx: Transaction, approval_id: str, *, owner: str, answering: execution.Answers | None
    ) -> Claim | ClaimLost | RefusedByPolicy:
        over: list[RefusedByPolicy] = []
        taken: tuple[Charge, ...] = ()

        def recheck(
            tx: Transaction, approval: Approval
        ) -> str | execution.NotNow | EffectClaim | None:
            call = approval.call
            verdict = self._judge(self._policies.current, call, loads(call.arguments))
            if isinstance(verdict, Deny):
                if verdict.ruling.rule == FROZEN:  # a pause, not a judgement: the approval stands
                    over.append(RefusedByPolicy(refusals.denied(verdict.ruling)))
                    return execution.NotNow(verdict.ruling.reason, RETRY_PENDING)
                return verdict.ruling.reason or "The policy denies it now."
            if self._pinned(call) != call.tool_hash:
                return "The definition of the tool changed."
            stop = _other_effect(approval, verdict.claim)
            if stop is not None:
                return stop
            # One call is counted once, when its first round is sent.
            nonlocal taken
            taken = tuple(verdict.charges) if answering is None else ()
            full = limits.take(tx, taken, limits.Subject.of(call))
            if full is None:
                return verdict.claim
            ruled = refusals.limit_ruling(verdict.ruling, full.limit)
            over.append(RefusedByPolicy(refusals.limited(ruled, full.limit, full.retry_after)))
            return execution.NotNow("A limit is full.", full.retry_after)

        outcome = execution.claim(
            tx,
            approval_id,
            owner=owner,
            lease_ms=self.lease_ms,
            recheck=recheck,
            answering=answering,
        )
        if isinstance(outcome, execution.Claimed):
            return Claim(outcome.approval, owner, taken)
        return over[-1] if over else _lost(outcome)


def _lost(outcome: execution.Lost) -> ClaimLost | RefusedByPolicy:
    """What an agent is told whose approval cannot run now; or that it must look again."""
    if outcome.retry_after is None or outcome.approval is None:
        return ClaimLost()
    return RefusedByPolicy(refusals.not_now(outcome.approval, outcome.why, outcome.retry_after))


def _other_effect(approval: Approval, claim: EffectClaim | None) -> str | None:
    """Why a call may not run whose effect is another one by now than the card said."""
    if claim is None or claim.key == approval.effect:
        return None
    return "The policy names another effect of this call now than the one that was approved."


def _unknown(policy: Policy, place: Path) -> Deny:
    name = visible(text(place).removeprefix("args."))[:_NAME_ROOM]
    reason = f'The definition of this tool has no argument "{name}".'
    return Deny(ruling=Ruling(rule=UNKNOWN, reason=reason, policy_hash=policy.hash))


def _append(row: Event, tx: Transaction) -> None:
    tx.append(row)


def _finish(claimed: Claim, end: RunEnd, tx: Transaction) -> Approval:
    recorded = execution.finish(tx, claimed.approval.id, end, owner=claimed.owner)
    if recorded.execution is Execution.NOT_EXECUTED:  # it may be claimed, and counted, again
        subject = limits.Subject.of(claimed.approval.call)
        taken_at = claimed.approval.claimed_at or tx.now
        limits.give_back(tx, claimed.charges, subject, taken_at=taken_at)
    return recorded

"""The ten steps of a call (gateway/README.md): the only place where their order matters.

    judge -> record the verdict, its counters and the row in one transaction -> only then act

`admit` is steps 2 to 6, `claim` step 8, `finish` and `passed` step 10; waiting (7) and sending (9)
are the relay's. If the record cannot be written, `RecordUnavailable` is raised and nothing is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from json import loads
from typing import Any

from approvals import leases, queue
from approvals.aside import elsewhere
from approvals.digest import canonical, digest_of, sha256
from approvals.execution import Answers, RunEnd, answer, deliver
from approvals.model import Approval, Call, Event, Execution, Millis
from approvals.record.database import Database, Transaction
from approvals.redact import masked
from gateway.enforcement import input_schema, limits, refusals, runs
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grant
from gateway.enforcement.outcomes import record_orphans, record_outcome
from gateway.enforcement.policy_file import PolicyFile, Waiting
from gateway.enforcement.recording import (
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
)
from gateway.enforcement.refusal_tally import Tally
from gateway.enforcement.rules_in_force import FROZEN, RulesInForce
from gateway.enforcement.runs import ClaimLost, Run
from gateway.policy import terms
from gateway.policy.judge import (
    Allow,
    Deny,
    Hold,
    redact_paths,
)
from gateway.policy.rules import Policy


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
        self._fingerprint = database.keys.fingerprint
        self.rules = RulesInForce(
            policies, catalogue, freezes, trusted=trusted, fingerprint=self._fingerprint
        )
        self._policy_told = policies.current.hash
        self._max_pending = max_pending
        self.default_hold = default_hold
        self.process = process
        """This gateway's, as the record knows it: calls wait at it, and it sends them."""
        self._causing: set[str] = set()  # allowed calls with an effect that this process sends
        self._owners: set[str] = set()  # of the runs this process is sending
        self._call_ids = call_ids()
        self._clock = database.clock
        self._tally = Tally()
        self._max_withdrawn = max_withdrawn
        self.lease_ms = int(lease_seconds * 1000)
        """For how long a claim stands without a sign of life of the gateway that made it."""

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
        policy, verdict, text = await self.rules.judged(call, arguments)
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
            told=not self._tally.full(call.grant, self._clock),
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
        for approval in queue.standing(tx):
            call = approval.call
            verdict = self.rules.judge(call, loads(call.arguments))
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
        verdict = self.rules.judge(call, arguments)
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
    ) -> Run | ClaimLost | RefusedByPolicy:
        """Take an approved call for sending: at most one caller ever gets it. With `answering`,
        take it for sending the answers to the question of that round: at most one caller again.

        The policy, the tool's definition and the limits are checked again in the same transaction:
        a denial supersedes the approval, a full limit leaves it standing.
        """
        given: Answers | None = None
        if answering is not None:
            given = Answers(answering, await elsewhere(lambda: self._shown(answers)))
        claimed = await self._journal.write(
            partial(
                runs.claim,
                approval_id=approval_id,
                rules=self.rules,
                owner=f"{self.process}.{secrets.token_hex(8)}",
                lease_ms=self.lease_ms,
                answering=given,
            )
        )
        if isinstance(claimed, Run):
            self._owners.add(claimed.owner)
        return claimed

    def let_go(self, run: Run) -> None:
        """This process sends this call no longer. If no end of it is on record by now none will
        be: its lease runs out, and its outcome is unknown.
        """
        self._owners.discard(run.owner)

    def renew(self, tx: Transaction) -> None:
        """What this process is sending keeps its lease."""
        for owner in self._owners.copy():
            leases.renew(tx, owner=owner, lease_ms=self.lease_ms)

    def recover(self, tx: Transaction) -> None:
        """What processes that are gone were sending has an unknown outcome and effect."""
        leases.recover(tx, tx.now)
        record_orphans(tx, process=self.process, sending=self._causing.copy())

    async def finish(self, run: Run, end: RunEnd) -> Approval:
        """Record what became of a claimed call; the agent's answer waits for this. Look at the
        approval's `execution`: a lease that ran out meanwhile has made it unknown, and that stays.
        """
        return await self._journal.write(partial(runs.finish, run, end))

    async def stored_result(self, approval_id: str, *, attached_at: Millis) -> bytes | None:
        """The answer of a finished call for an agent that came back, or that waited beside it."""
        return await self._journal.write(
            partial(answer, approval_id=approval_id, attached_at=attached_at)
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
        self._journal.post(partial(deliver, approval_id=approval_id))

    async def waits(self, approval_id: str, *, until: Millis) -> None:
        """The agent waits in place for this approval, `until` then."""
        await self._journal.write(
            partial(queue.present, approval_id=approval_id, until=until, to=self.process)
        )

    async def left(self, approval_id: str) -> None:
        """The agent no longer waits in place."""
        await self._journal.write(partial(queue.detach, approval_id=approval_id, to=self.process))

    def _shown(self, answers: Any) -> Any:
        """What an agent answered, as the history may keep it."""
        return loads(masked(canonical(answers), (), key=self._fingerprint))


def _append(row: Event, tx: Transaction) -> None:
    tx.append(row)

"""What the agent gets instead of a result: a text for the model, the same facts for machines. Pure.

The texts are `refusals`'; here they are joined with the approval or the rule they speak of, under
`_meta["dev.signoff/decision"]`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from approvals.differences import ABSENT, text
from approvals.edits import AppliedEdit
from approvals.effects import EffectState, Mark
from approvals.model import Approval, Execution, Ruling
from approvals.redact import visible
from approvals.reversal import runs_from, taken_back
from gateway.enforcement import refusal_texts
from gateway.enforcement.refusal_texts import META_KEY, Word, decision_meta
from gateway.policy.limit import Limit

_VALUE = 80  # characters of a changed value that a text names
RETRY_SECONDS = 15
"""When a pending call is worth asking for again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer instead of a result."""

    text: str
    meta: dict[str, Any]

    def result(self, *, modern: bool) -> dict[str, Any]:
        """The tool result (server/tools, "Error Handling")."""
        result = refusal_texts.refusal(self.text, self.meta)
        if modern:
            result["resultType"] = "complete"
        return result

    def data(self) -> dict[str, Any]:
        """The `data` of a JSON-RPC error, where what was asked for has no tool result."""
        return {META_KEY: self.meta}


def denied(ruling: Ruling) -> Refusal:
    """The policy says no."""
    meta = decision_meta(verdict="deny", ruling=ruling)
    return Refusal(refusal_texts.text_for_deny(ruling), meta)


def stopped(ruling: Ruling) -> Refusal:
    """An operator has frozen whatever it was meant for: of no tool, so no rule was asked."""
    meta = decision_meta(verdict="deny", ruling=ruling)
    return Refusal(refusal_texts.text_for_stop(ruling), meta)


def limited(ruling: Ruling, limit: Limit, retry_after: int) -> Refusal:
    """A limit has no room; `retry_after` is whole seconds until its window ends. The ruling is
    `limit_ruling`'s.
    """
    meta = decision_meta(verdict="limited", ruling=ruling, retry_after=retry_after)
    return Refusal(refusal_texts.text_for_limit(limit, retry_after), meta)


def limit_ruling(ruling: Ruling, limit: Limit) -> Ruling:
    """Why a call is refused that the rules would let pass, or hold."""
    return replace(ruling, rule=limit.pointer, reason=f"The limit {limit.counter} has no room.")


def effect_ruling(ruling: Ruling, mark: Mark) -> Ruling:
    """Why a call is refused whose effect another call is causing, or has caused."""
    did = "is doing this right now" if mark.state is EffectState.TAKEN else "has done this already"
    return replace(ruling, reason=f"{mark.holder} {did}.")


def pending_ruling(ruling: Ruling, pending: int) -> Ruling:
    """Why a call is not put before a person."""
    reason = f"This agent has {pending} calls waiting for approval, as many as it may."
    return replace(ruling, reason=reason)


def withdrawn_ruling(ruling: Ruling, withdrawn: int) -> Ruling:
    """Why a call is not put before a person."""
    return replace(ruling, reason=f"This agent took back {withdrawn} held calls in ten minutes.")


def effect_taken(ruling: Ruling, mark: Mark, retry_after: int) -> Refusal:
    """Another call is doing the same at this moment. The ruling is `effect_ruling`'s."""
    meta = decision_meta(
        verdict="limited", ruling=ruling, retry_after=retry_after, status="effect_taken"
    )
    return Refusal(
        refusal_texts.effect_taken(mark.holder, retry_after), {**meta, "holder": mark.holder}
    )


def effect_done(ruling: Ruling, mark: Mark) -> Refusal:
    """Another call has done the same, and no one is asked about a second time. The ruling is
    `effect_ruling`'s.
    """
    meta = decision_meta(verdict="deny", ruling=ruling, status="effect_done")
    text = refusal_texts.effect_done(mark.holder, mark.taken_at, mark.keep)
    return Refusal(text, {**meta, "holder": mark.holder})


def too_many_pending(ruling: Ruling, pending: int, retry_after: int) -> Refusal:
    """The grant has as many open approvals as it may have. The ruling is `pending_ruling`'s."""
    meta = decision_meta(verdict="limited", ruling=ruling, retry_after=retry_after)
    return Refusal(refusal_texts.text_for_busy(pending, retry_after), meta)


def too_many_withdrawn(ruling: Ruling, withdrawn: int, retry_after: int) -> Refusal:
    """The grant took back as many held calls as it may. The ruling is `withdrawn_ruling`'s."""
    meta = decision_meta(verdict="limited", ruling=ruling, retry_after=retry_after)
    return Refusal(refusal_texts.text_for_withdrawn(withdrawn, retry_after), meta)


def waiting(approval: Approval, *, url: str) -> Refusal:
    """The agent must be let go, and there is no outcome yet."""
    if approval.execution is Execution.EXECUTING:
        return still_running(approval, url=url)
    if runs_from(approval):
        return starts_soon(approval, url=url)
    return pending(approval, url=url)


def pending(approval: Approval, *, url: str) -> Refusal:
    """No one has decided yet, and the agent must be let go."""
    text = refusal_texts.text_for_pending(approval.id, approval.ruling.reason, approval.expires_at)
    return Refusal(text, _about(approval, "hold", url=url, retry_after=RETRY_SECONDS))


def starts_soon(approval: Approval, *, url: str) -> Refusal:
    """Approved, but it may still be taken back, and the agent must be let go."""
    text = refusal_texts.starts_soon(approval.id, runs_from(approval))
    return Refusal(text, _about(approval, "hold", url=url, retry_after=RETRY_SECONDS))


def still_running(approval: Approval, *, url: str) -> Refusal:
    """Approved and sent; the server has not answered yet."""
    text = refusal_texts.still_running(approval.id)
    return Refusal(text, _about(approval, "hold", url=url, retry_after=RETRY_SECONDS))


def denied_by(approval: Approval) -> Refusal:
    """A person said no; the identical call within the rule's memory is told so again."""
    text = refusal_texts.denied_by(approval.decided_by, approval.reason, attempts=approval.attempts)
    return Refusal(text, _about(approval, "deny", reason=approval.reason or text))


def expired(approval: Approval) -> Refusal:
    """Time ran out: before a decision, or before anyone came back to run it."""
    if approval.execution is Execution.INPUT_REQUIRED:
        text = refusal_texts.question_expired(approval.terms.use_within)
    elif approval.use_by is not None:
        text = refusal_texts.permit_expired(approval.terms.use_within)
    else:
        text = refusal_texts.expired((approval.expires_at - approval.created_at) // 1000)
    return Refusal(text, _about(approval, "deny", reason=text))


def withdrawn(approval: Approval) -> Refusal:
    """The agent no longer wants it; or a person took the approval back, whose words stay ours."""
    if taken_back(approval):
        text = refusal_texts.taken_back()
        return Refusal(text, _about(approval, "deny", reason=text))
    text = refusal_texts.withdrawn()
    return Refusal(text, _about(approval, "deny", reason=approval.reason or text))


def superseded(approval: Approval) -> Refusal:
    text = refusal_texts.superseded(approval.reason)
    return Refusal(text, _about(approval, "deny", reason=approval.reason or text))


def outcome_unknown(approval: Approval | None = None) -> Refusal:
    """Bytes may have left and no answer was recorded."""
    return _outcome(refusal_texts.outcome_unknown(), "outcome_unknown", approval)


def too_large(approval: Approval | None = None) -> Refusal:
    """It ran, and its answer is over the size that is passed on."""
    return _outcome(refusal_texts.too_large(), "outcome_unknown", approval)


def unreadable(approval: Approval | None = None) -> Refusal:
    """It ran, and its answer is nested deeper than anyone reads."""
    return _outcome(refusal_texts.unreadable(), "outcome_unknown", approval)


def not_sent(approval: Approval | None = None, *, waits: bool = False) -> Refusal:
    """Certainly nothing reached the server; an approval stands for a repeat. `waits`: for it is not
    confirmed.
    """
    text = refusal_texts.call_unconfirmed() if waits else refusal_texts.not_sent()
    if approval is not None and approval.use_by is not None:
        text += f" {refusal_texts.permit_stands(approval.use_by)}"
    return _outcome(text, "not_executed", approval)


def server_unavailable(approval: Approval | None = None) -> Refusal:
    """The server did not say which tools it has, so no call to it can be judged."""
    text = refusal_texts.not_listed()
    if approval is None or approval.use_by is None:
        return _outcome(f"{text} {refusal_texts.later()}", "not_executed", approval)
    return _outcome(
        f"{text} {refusal_texts.permit_stands(approval.use_by)}", "not_executed", approval
    )


def runs_later(approval: Approval, refusal: Refusal, *, url: str) -> Refusal:
    """Approved, and it could not run just now; its rule has it run by itself when it can."""
    match refusal.meta.get("status"), refusal.meta["verdict"]:
        case "not_executed", _:
            why = "the server cannot be reached at the moment"
        case _, "limited":
            why = "there is no room for it at the moment"
        case _:
            why = "it is stopped at the moment"
    text = refusal_texts.runs_later(approval.id, why, approval.use_by or approval.expires_at)
    meta = _about(approval, "hold", reason=f"It is approved, and {why}.", url=url)
    return Refusal(text, {**meta, "retry_after_seconds": RETRY_SECONDS, "status": "approved"})


def untold(approval: Approval, *, url: str) -> Refusal:
    """The record cannot be read, so no one can say here what has become of a held call."""
    meta = _about(approval, "hold", url=url, retry_after=RETRY_SECONDS)
    return Refusal(refusal_texts.untold(approval.id), {**meta, "status": "unavailable"})


def not_now(approval: Approval, why: str, retry_after: int) -> Refusal:
    """Approved, but it cannot run at this moment; the approval stands."""
    text = f"Not executed yet: {why} Try again in {max(1, retry_after)} s."
    return Refusal(text, _about(approval, "limited", reason=why, retry_after=retry_after))


def already_delivered(approval: Approval) -> Refusal:
    """Asked for once more after its result was handed over."""
    return _outcome(refusal_texts.already_delivered(), str(approval.execution), approval)


def unknown_approval() -> Refusal:
    """No approval with that id belongs to this grant."""
    return Refusal(refusal_texts.no_such_approval(), {"verdict": "deny", "status": "unknown"})


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added to the server's own answer."""

    text: str
    meta: dict[str, Any]


def edited(approval: Approval, edit: AppliedEdit) -> Addition:
    """The call ran with arguments a reviewer changed: the agent must not believe in its own."""
    differing = [
        (text(one.path).removeprefix("args."), _side(one.before), _side(one.after))
        for one in edit.changes
    ]
    meta = {
        **_about(approval, "hold"),
        "edited": True,
        "edited_by": edit.by,
        "arguments": edit.arguments,
        "changes": [
            {
                "path": text(one.path),
                **({} if one.before is ABSENT else {"before": one.before}),
                **({} if one.after is ABSENT else {"after": one.after}),
            }
            for one in edit.changes
        ],
    }
    return Addition(refusal_texts.edited(edit.by, differing), meta)


def _side(value: Any) -> str:
    """A value in one short line."""
    if value is ABSENT:
        return "nothing"
    written = visible(json.dumps(value, ensure_ascii=False))
    return written if len(written) <= _VALUE else f"{written[: _VALUE - 1]}…"


def with_addition(result: dict[str, Any], addition: Addition) -> None:
    """Put it into a tool result: the decision object, and one more text block where there are any.
    A server's own object of that name is not kept: it would speak for us.
    """
    meta = result.get("_meta")
    result["_meta"] = {**(meta if isinstance(meta, dict) else {}), META_KEY: addition.meta}
    content = result.get("content")
    if isinstance(content, list):
        result["content"] = [*content, {"type": "text", "text": addition.text}]


def with_data(error: dict[str, Any], addition: Addition) -> None:
    """Put the decision object into the data of a server's JSON-RPC error."""
    data = error.get("data")
    kept = data if isinstance(data, dict) else {} if data is None else {"data": data}
    error["data"] = {**kept, META_KEY: addition.meta}


def _outcome(text: str, status: str, approval: Approval | None) -> Refusal:
    if approval is None:
        return Refusal(text, {"verdict": "allow", "status": status})
    about = {**_about(approval, "hold", reason=text), "status": status}
    if approval.edited:
        text += f" {refusal_texts.was_edited()}"
        about["edited"] = True
        if approval.call.arguments:
            about["arguments"] = json.loads(approval.call.arguments)
    return Refusal(text, about)


def _about(
    approval: Approval,
    verdict: Word,
    *,
    reason: str = "",
    url: str | None = None,
    retry_after: int | None = None,
) -> dict[str, Any]:
    """`reason`: why the agent is told this, where that is not why a person is asked."""
    meta = decision_meta(
        verdict=verdict,
        ruling=approval.ruling,
        retry_after=retry_after,
        approval_id=approval.id,
        status=str(approval.state),
        expires_at=approval.expires_at,
        url=url,
    )
    told = reason or approval.reason
    return {**meta, "reason": told} if told else meta

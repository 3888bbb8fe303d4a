"""What an agent is told when its call does not simply run: short, fixed texts. Pure.

A refusal is a tool result, never a JSON-RPC error: models read results, hosts show errors as
crashes. Nothing here carries an upstream's or an exception's text.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from approvals.effects import done_for_good
from approvals.model import Millis, Ruling
from gateway.policy.limit import Limit

META_KEY = "dev.signoff/decision"
AWAIT_TOOL = "signoff_await_approval"
_OURS = AWAIT_TOOL.replace("_", "")
Word = Literal["allow", "deny", "limited", "hold"]
_LONGEST_NAME = 256  # characters of a name that are looked at
_ROOM = 500  # of a text a person or a policy wrote
_SAID = 8  # changed arguments that a text names


def reads_as_ours(tool: str) -> bool:
    """Whether a tool's name is the gateway's own, or one that a model takes for it."""
    plain = unicodedata.normalize("NFKC", tool[:_LONGEST_NAME]).casefold()
    return "".join(one for one in plain if one.isalnum()) == _OURS


def text_for_deny(ruling: Ruling) -> str:
    return f"Policy violation: {_sentence(ruling.reason)} (rule {ruling.rule})"


def text_for_stop(ruling: Ruling) -> str:
    return f"Not sent: {_sentence(ruling.reason)} Try again later."


def text_for_limit(limit: Limit, retry_after: int) -> str:
    """`retry_after` is whole seconds until the window ends."""
    amount = "" if limit.increment_from is None else " in total"
    return (
        f"Rate limit reached: {limit.counter} allows {limit.text}{amount}. "
        f"Try again in {max(1, retry_after)} s."
    )


def text_for_busy(pending: int, retry_after: int) -> str:
    """Too many calls of this grant wait for approval already."""
    return (
        f"Not queued: {pending} calls of this agent wait for approval already, as many as "
        f"SIGNOFF_MAX_PENDING allows. Try again in {max(1, retry_after)} s."
    )


def text_for_withdrawn(withdrawn: int, retry_after: int) -> str:
    """This grant had calls held and took them back, again and again."""
    return (
        f"Not queued: this agent took back {withdrawn} held calls in ten minutes. "
        f"Try again in {max(1, retry_after)} s."
    )


def text_for_pending(approval_id: str, reason: str, expires_at: Millis) -> str:
    handle = json.dumps({"approval_id": approval_id})
    return (
        f"Not executed yet: approval {approval_id} is needed ({_bare(reason)}). "
        f"Expires {clock(expires_at)}. Call {AWAIT_TOOL} with {handle} or repeat the identical "
        "call to get the outcome. Do not look for another way."
    )


def denied_by(reviewer: str, reason: str, *, attempts: int = 1) -> str:
    """`attempts` counts the identical calls, this one included."""
    text = f"Denied by {reviewer}: {_sentence(reason)}" if reason else f"Denied by {reviewer}."
    if attempts > 1:
        text += f" This was attempt {attempts}; asking again will not change it."
    return text


def expired(seconds: int) -> str:
    """`seconds` is how long the approval was open."""
    return f"Approval expired: no one decided in {spelled(seconds)}."


def permit_expired(seconds: int) -> str:
    """Approved, but no one came back within `use_within`."""
    return f"Approval expired: it was approved but not used within {spelled(seconds)}."


def question_expired(seconds: int) -> str:
    """The server asked back, and no one answered within `use_within`."""
    return f"Approval expired: the server's question was not answered within {spelled(seconds)}."


def edited(by: str, changes: Sequence[tuple[str, str, str]]) -> str:
    """A reviewer changed the call before it was approved. `changes`: path, before, after."""
    who = f"{by} changed this call before it was approved" if by else "This call was changed"
    said = "; ".join(f"{path} from {before} to {after}" for path, before, after in changes[:_SAID])
    more = f"; and {len(changes) - _SAID} more" if len(changes) > _SAID else ""
    what = f": {said}{more}" if said else ""
    return f"{who}{what}. It ran with the changed arguments."


def was_edited() -> str:
    return "A reviewer had changed its arguments."


def outcome_unknown() -> str:
    return "Outcome unknown: the server did not answer. It was not sent again."


def withdrawn() -> str:
    return "Not executed: the request for approval was withdrawn."


def starts_soon(approval_id: str, at: Millis) -> str:
    """Approved, and its rule has it wait in case that was a slip."""
    handle = json.dumps({"approval_id": approval_id})
    return (
        f"Not executed yet: approval {approval_id} was given; the call starts no sooner than "
        f"{timestamp(at)}. Call {AWAIT_TOOL} with {handle} or repeat the identical call to get "
        "the outcome."
    )


def taken_back() -> str:
    """A person who had approved it, or an administrator, changed their mind in time."""
    return "Not executed: a reviewer took the approval back before the call started. Nothing ran."


def superseded(why: str = "") -> str:
    """`why` is the gateway's own text: the policy, the tool or the server changed, or another call
    has done the same.
    """
    if done_for_good(why):
        return f"Not executed: {_sentence(why)} It is done once: do not ask for it again."
    detail = f" ({_bare(why)})" if why else ""
    return f"Not executed: what was asked for is no longer valid{detail}. Ask again."


def frozen() -> str:
    return "Not executed: an operator has stopped all calls. Try again later."


def unavailable() -> str:
    """The record cannot be written, so nothing runs."""
    return "Not executed: the gateway cannot record calls at the moment. Try again later."


def not_sent() -> str:
    return "Not executed: the server could not be reached. Nothing was sent."


def unconfirmed() -> str:
    """The server is new or changed in servers.json, and no one may use it yet."""
    return (
        "An administrator must first confirm how this server is started or reached. "
        "Nothing was sent."
    )


def call_unconfirmed() -> str:
    """As `unconfirmed`, of a call."""
    return (
        "Not executed: an administrator must first confirm how this server is started or reached. "
        "Nothing was sent."
    )


def effect_taken(holder: str, retry_after: int) -> str:
    """Another call is causing the same effect."""
    return (
        f"Not executed: this is being done by {holder} right now. "
        f"Ask again in {max(1, retry_after)} s to learn how that ended."
    )


def effect_done(holder: str, at: Millis, keep: int) -> str:
    """Another call caused the same effect; `keep` is for how many seconds that counts."""
    return (
        f"Not executed: this was done already, by {holder} at {timestamp(at)}, and is done once "
        f"in {spelled(keep)}. Do not look for another way."
    )


def decision_meta(
    *,
    verdict: Word,
    ruling: Ruling,
    retry_after: int | None = None,
    approval_id: str | None = None,
    status: str | None = None,
    expires_at: Millis | None = None,
    url: str | None = None,
) -> dict[str, Any]:
    """The value of `_meta["dev.signoff/decision"]`."""
    optional: dict[str, Any] = {
        "retry_after_seconds": retry_after,
        "approval_id": approval_id,
        "status": status,
        "expires_at": None if expires_at is None else timestamp(expires_at),
        "url": url,
    }
    return {
        "verdict": verdict,
        "rule": ruling.rule,
        "reason": ruling.reason,
        "policy_hash": ruling.policy_hash,
        **{key: value for key, value in optional.items() if value is not None},
    }


def refusal(text: str, meta: dict[str, Any]) -> dict[str, Any]:
    """The tool result that carries a refusal."""
    return {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {META_KEY: meta},
    }


def clock(at: Millis) -> str:
    """`18:00Z`: the minute, rounded down, so that no one comes too late."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%H:%MZ")


def timestamp(at: Millis) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def spelled(seconds: int) -> str:
    """`30 minutes`, `1 hour`, `90 seconds`."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            return _counted(seconds // unit, name)
    return _counted(seconds, "second")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ROOM else f"{line[: _ROOM - 1]}…"


def _bare(text: str) -> str:
    return _short(text).rstrip(".")


def _sentence(text: str) -> str:
    line = _short(text)
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def still_running(approval_id: str) -> str:
    handle = json.dumps({"approval_id": approval_id})
    return (
        f"Approved and running: {approval_id}. The server has not answered yet. "
        f"Call {AWAIT_TOOL} with {handle} to get the outcome."
    )


def too_large() -> str:
    return "Outcome unknown: the result is too large to pass on. It was not sent again."


def unreadable() -> str:
    return (
        "Outcome unknown: the server answered, but nested too deeply to be read. "
        "It was not sent again."
    )


def permit_stands(use_by: Millis) -> str:
    """After `not_sent`: the approval is not used up."""
    return f"The approval stands until {clock(use_by)}: repeat the identical call."


def not_listed() -> str:
    """The server did not say which tools it has; no call to it can be judged."""
    return "Not executed: the server did not list its tools. Nothing was sent."


def later() -> str:
    return "Try again later."


def runs_later(approval_id: str, why: str, use_by: Millis) -> str:
    """Approved, not run yet, and it will be without the agent."""
    handle = json.dumps({"approval_id": approval_id})
    return (
        f"Approved, not executed yet: {why}. It runs by itself once that is over, until "
        f"{clock(use_by)}. Do not do it another way. Call {AWAIT_TOOL} with {handle} to get the "
        "outcome."
    )


def untold(approval_id: str) -> str:
    """What became of a held call is on a record that cannot be read."""
    handle = json.dumps({"approval_id": approval_id})
    return (
        f"The gateway cannot read at the moment what became of approval {approval_id}. "
        f"Call {AWAIT_TOOL} with {handle} later. Do not look for another way."
    )


def already_delivered() -> str:
    return "The result of this approval was delivered before. A new call needs a new approval."


def no_such_approval() -> str:
    return "There is no such approval of this agent."

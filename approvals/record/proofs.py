"""What keeps each column from anyone who may write the database but does not hold the key. Pure.

A test wants every column of every table in exactly one of three places:

- `signed`: under the row's MAC. Written with `approvals.record.signed` and read with it, a row
  whose MAC is missing, wrong or not the newest is no row. For whatever permits something by being
  there: a person, a credential, a grant, a pin, a confirmed text, an enrolled key.
- `told`: the history says it, and anyone who acts on it asks the history.
- `free`: may change without the key; the reason says what that can, and cannot, bring about.

To join with a new table: give it `row_version` and `mac` as its neighbours in `tables` have them
(and in its revision), list its columns in PROOFS, write it with `signed.put` and `signed.drop`,
read it with `signed.rows`. To join with a new column of a signed table: add it to `signed`. A
column that is NULL is no part of the MAC, so rows that were signed before it came stay good as
long as its revision leaves it NULL. A new column of `approval` that is set once, when a call is
held, goes to FIXED: the history's `held` row carries the digest of them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from approvals.digest import canonical, sha256

FIXED: Final = (
    *("id", "asked", "grant_id", "grant_label", "server", "tool", "tool_hash"),
    *("client_name", "client_version", "session", "session_calls"),
    *("redact", "rule", "rule_reason", "matched", "policy_hash", "terms", "effect"),
    *("created_at", "risk_rank", "metadata_masked", "metadata_digest"),
)
"""Columns of an approval that never change: `held` carries their digest."""


def fixed_digest(row: Mapping[Any, Any]) -> str:
    """The digest of an approval's columns that never change; what is NULL is no part of it."""
    return sha256(canonical({name: row[name] for name in FIXED if row[name] is not None}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Where each column of one table belongs; see above. Names are in no order."""

    signed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    free: Mapping[str, str] = field(default_factory=dict)  # column: why it may be
    ledger: bool = True
    """Whether the history also says which version of a signed row is the newest. Only where an
    older one put back is told apart by other rows of the history may it not.
    """


_PRESENCE: Final = "says who is there and who works; a lie delays, repeats a notice, or ends a run"
_NOTICE: Final = "tells people; a lie tells them late, twice or never, and decides nothing"
_SEALED: Final = "is sealed, bound to its approval, and compared with the digest the history tells"
_LISTED: Final = "is listed beside the approval; what runs is asked of the history"
_USED_UP: Final = (
    "counts use within a limit: a lie lets calls through that the policy allows anyway"
)
_SEEN: Final = "says when; decides nothing"

PROOFS: Final[Mapping[str, Proof]] = MappingProxyType(
    {
        "approval": Proof(
            told=(
                *FIXED,
                *("revision", "digest", "arguments_digest", "masked", "state", "execution"),
                *("expires_at", "use_by", "round", "settlement", "effect_after"),
            ),
            free={
                "version": "tells writers of one moment apart; every change counts it up",
                "arguments_sealed": _SEALED,
                "metadata_sealed": _SEALED,
                "result_sealed": _SEALED,
                "result_digest": _LISTED,
                "delivery": "an answer is handed over again, or not; nothing runs again for it",
                "decided_at": _LISTED,
                "claimed_at": _LISTED,
                "finished_at": _LISTED,
                "delivered_at": _LISTED,
                "reason": _LISTED,
                "decided_by": _LISTED,
                "decided_via": _LISTED,
                "attempts": _LISTED,
                "owner": _PRESENCE,
                "lease_until": _PRESENCE,
                "attached_until": _PRESENCE,
                "attached_to": _PRESENCE,
            },
        ),
        "effect": Proof(
            signed=(
                *("server", "key", "state", "holder", "grant_id", "grant_label", "tool"),
                *("terms", "keep", "again", "taken_at", "until", "owner"),
            ),
        ),
        "process": Proof(
            free=dict.fromkeys(("id", "name", "started_at", "lease_until"), _PRESENCE)
        ),
        "decision": Proof(
            signed=(
                *("id", "approval_id", "revision", "reviewer", "choice", "reason", "via"),
                *("view_digest", "at"),
            ),
            ledger=False,  # the approval's own rows tell of each vote, and what voids it
        ),
        "revision": Proof(
            told=("approval_id", "revision", "digest", "masked", "edited_by", "at"),
            free={"arguments_sealed": _SEALED},
        ),
        "task": Proof(
            free={
                "approval_id": _LISTED,
                "envelope_sealed": _SEALED,
                "answers_sealed": _SEALED,
                "answered": "which round's answers are whole: `claim` takes a round's only once",
                "created_at": _SEEN,
                "cancelled_at": "the withdrawal itself is a row of the history",
            }
        ),
        "spent": Proof(
            free={
                "id": (
                    "an approved call runs each round once by its history; an allowed one with an "
                    "effect goes on while its mark says that this question is open; one without "
                    "may be made again anyway"
                ),
                "until": _SEEN,
            }
        ),
        "history": Proof(
            told=(
                *("seq", "at", "event", "approval_id", "revision", "call_id", "actor_kind"),
                *("actor", "verified", "via", "grant_id", "server", "tool", "arguments"),
                *("arguments_digest", "presented_digest", "policy_hash", "rule", "verdict"),
                *("reason", "outcome", "result_digest", "latency_ms", "data", "subject"),
                *("prev_hash", "hash"),
            )
        ),
        "counter": Proof(free={"key": _USED_UP, "window_start": _USED_UP, "used": _USED_UP}),
        "grant": Proof(
            signed=(
                *("id", "label", "token_hash", "servers", "owner", "hold"),
                *("created_at", "expires_at", "revoked_at"),
            ),
            free={"patience": "learned of a client: for how long its held calls wait in place"},
        ),
        "reviewer": Proof(signed=("id", "role", "identities", "created_at", "removed_at")),
        "credential": Proof(
            signed=(
                *("token_hash", "kind", "reviewer", "created_at", "expires_at"),
                *("used_at", "revoked_at", "binding"),
            )
        ),
        "nonce": Proof(
            free=dict.fromkeys(
                ("session", "nonce", "until"),
                "refuses; without it a signed request could be repeated by who overheard it whole",
            )
        ),
        "pin": Proof(
            signed=(
                *("server", "kind", "name", "hash", "call_hash", "definition"),
                *("seen_hash", "seen_definition", "volatile", "carried", "accepted_by"),
            ),
            free={
                "first_seen": _SEEN,
                "changed_at": _SEEN,
                "back_at": _SEEN,
                "present": "whether the server lists it now; a call of what it lacks only fails",
            },
        ),
        "tool_class": Proof(
            signed=(*("server", "name", "definition_hash", "category", "settled_by", "settled_at"),)
        ),
        "outbox": Proof(
            free=dict.fromkeys(
                (
                    *("id", "notifier", "approval_id", "kind", "payload", "tries", "due_at"),
                    *("done_at", "error"),
                ),
                _NOTICE,
            )
        ),
        # The rows `key` and `notifiers` are read without a MAC: another key's mark closes the
        # record, and notifiers only tell. Every other key is read with it.
        "setting": Proof(signed=("key", "value", "at")),
        "slack_message": Proof(
            free=dict.fromkeys(
                (
                    *("id", "approval_id", "kind", "target", "parent", "channel", "ts"),
                    *("revision", "version", "shown", "posts", "state", "error"),
                    *("busy_until", "doubt_at", "at"),
                ),
                "shows cards; a press on one is judged by what the approval is, not the card",
            )
        ),
    }
)

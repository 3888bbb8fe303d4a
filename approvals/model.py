"""The words of the record: calls, terms, states and the one table of legal moves. Pure.

Times are milliseconds since the epoch, UTC (`Millis`): they are stored, compared and hashed as
integers, and become dates only where a person reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from approvals.digest import sha256

Millis = int
"""Milliseconds since 1970-01-01T00:00:00Z."""

Risk = Literal["low", "medium", "high", "critical"]
RISKS: tuple[Risk, ...] = ("low", "medium", "high", "critical")
MIDDLE: Final[Risk] = "medium"
"""The risk of a call where neither its tool's class nor its rule says one."""
Detached = Literal["keep", "execute", "withdraw"]
Via = Literal["page", "slack", "cli", "api", "gateway"]


class State(StrEnum):
    """The decision axis of an approval. Everything but PENDING and APPROVED is terminal."""

    PENDING = "pending"  # waits for a person
    APPROVED = "approved"  # may run once, until `use_by`
    DENIED = "denied"  # a reviewer said no
    EXPIRED = "expired"  # no one decided, or no one came back to run it, in time
    WITHDRAWN = "withdrawn"  # the agent no longer wants it, or a person took the approval back
    SUPERSEDED = "superseded"  # policy, tool or server changed underneath it


class Execution(StrEnum):
    """The execution axis; leaves NONE only under State.APPROVED."""

    NONE = "none"  # nothing was sent
    EXECUTING = "executing"  # claimed; bytes may be on their way
    SUCCEEDED = "succeeded"  # the server answered, isError false
    TOOL_ERROR = "tool_error"  # the server answered, isError true
    UPSTREAM_ERROR = "upstream_error"  # the server answered with a JSON-RPC or HTTP error
    NOT_EXECUTED = "not_executed"  # refused before the first byte left; may be claimed again
    INPUT_REQUIRED = "input_required"  # the server asked back; it runs on when the agent answers
    OUTCOME_UNKNOWN = "outcome_unknown"  # bytes may have left and no answer was recorded


class Delivery(StrEnum):
    """Whether the agent has received the stored answer."""

    UNDELIVERED = "undelivered"
    DELIVERED = "delivered"


class Settlement(StrEnum):
    """What a reviewer found out about an unknown outcome."""

    DONE = "done"
    NOT_DONE = "not_done"


@dataclass(frozen=True, slots=True)
class Move:
    """One legal change of an approval: the states it leaves and the states it reaches."""

    event: str
    state: tuple[State, State]
    execution: tuple[Execution, Execution] = (Execution.NONE, Execution.NONE)


_P, _A = State.PENDING, State.APPROVED
_E = Execution

MOVES: tuple[Move, ...] = (
    Move("approved", (_P, _A)),
    Move("denied", (_P, State.DENIED)),
    Move("expired", (_P, State.EXPIRED)),
    Move("withdrawn", (_P, State.WITHDRAWN)),
    Move("superseded", (_P, State.SUPERSEDED)),
    Move("superseded", (_A, State.SUPERSEDED)),
    Move("withdrawn", (_A, State.WITHDRAWN)),
    Move("taken_back", (_A, State.WITHDRAWN)),
    Move("expired", (_A, State.EXPIRED)),
    Move("claimed", (_A, _A), (_E.NONE, _E.EXECUTING)),
    Move("claimed", (_A, _A), (_E.NOT_EXECUTED, _E.EXECUTING)),
    Move("succeeded", (_A, _A), (_E.EXECUTING, _E.SUCCEEDED)),
    Move("tool_error", (_A, _A), (_E.EXECUTING, _E.TOOL_ERROR)),
    Move("upstream_error", (_A, _A), (_E.EXECUTING, _E.UPSTREAM_ERROR)),
    Move("not_executed", (_A, _A), (_E.EXECUTING, _E.NOT_EXECUTED)),
    Move("outcome_unknown", (_A, _A), (_E.EXECUTING, _E.OUTCOME_UNKNOWN)),
    Move("expired", (_A, State.EXPIRED), (_E.NOT_EXECUTED, _E.NOT_EXECUTED)),
    Move("superseded", (_A, State.SUPERSEDED), (_E.NOT_EXECUTED, _E.NOT_EXECUTED)),
    Move("withdrawn", (_A, State.WITHDRAWN), (_E.NOT_EXECUTED, _E.NOT_EXECUTED)),
    Move("taken_back", (_A, State.WITHDRAWN), (_E.NOT_EXECUTED, _E.NOT_EXECUTED)),
    Move("input_required", (_A, _A), (_E.EXECUTING, _E.INPUT_REQUIRED)),
    Move("continued", (_A, _A), (_E.INPUT_REQUIRED, _E.EXECUTING)),
    Move("expired", (_A, State.EXPIRED), (_E.INPUT_REQUIRED, _E.INPUT_REQUIRED)),
    Move("superseded", (_A, State.SUPERSEDED), (_E.INPUT_REQUIRED, _E.INPUT_REQUIRED)),
    Move("withdrawn", (_A, State.WITHDRAWN), (_E.INPUT_REQUIRED, _E.INPUT_REQUIRED)),
)
"""Every legal move, and the only list of them. An edit and a vote short of the quorum stay pending
and change only the revision or the votes; `queue` guards those by state and version alone. An agent
may withdraw what was approved, as long as nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the agent's program says of itself: shown, never trusted."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a request brought beside its tool's name and arguments: canonical JSON objects, b"" for
    nothing. It is no part of a call's identity.
    """

    shown: bytes = b""  # `_meta` and `task` as far as people are shown them
    unseen: bytes = b""  # keys of `_meta` that pass and are not shown

    @property
    def digest(self) -> str:
        """Of what is shown; "" for nothing."""
        return sha256(self.shown) if self.shown else ""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.shown) + len(self.unseen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tools/call as received and parsed; `arguments` is the canonical JSON that may be sent."""

    grant: str  # grant id, "grt_…"
    grant_label: str
    server: str
    tool: str
    arguments: bytes  # canonical JSON object, UTF-8
    tool_hash: str  # of the tool's pinned definition; "" when the server never listed it
    client: Client = Client()
    session: str = ""  # legacy session, if the revision has one
    session_calls: int = 0
    metadata: Metadata = Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms a held call may be approved. Durations are whole seconds.

    `reviewers` names identities that may decide ("alice", "slack:T024/U07", "oidc:bob@example.com",
    "slack-group:T024/S01"), groups already resolved; empty means any reviewer with the role.
    """

    reviewers: tuple[str, ...] = ()
    quorum: int = 1
    expires: int = 1800
    hold: int | None = None  # None: the grant's or the gateway's own
    use_within: int = 900
    undo: int = 0  # for so long after it was approved it does not start
    when_detached: Detached = "keep"
    editable: tuple[str, ...] = ()
    risk: Risk | None = None  # as a rule states it; of an approval, the risk in force
    risk_set: bool = False  # the rule sets the risk, whatever the tool's class says
    tool_risk: Risk | None = None  # of an approval: the tool's class when the call was opened
    not_owner: bool = False
    deny_memory: int = 600
    allow_duplicates: bool = False
    channel: str | None = None
    web_only: bool = False  # announced in Slack, but not approved there
    reveal: Literal["admin"] | None = None  # who may look behind what `redact` names
    summary: str = ""  # the rule's sentence, to be filled in by `headline`; "": it has none


EFFECT_KEPT: Final = 30 * 86_400
"""Seconds for which what a call did counts, unless its rule says otherwise."""


@dataclass(frozen=True, slots=True)
class EffectClaim:
    """What a policy says of one call's effect: what it does in the world is done once."""

    key: str
    keep: int = EFFECT_KEPT  # seconds for which it counts once it is done
    again: bool = False  # a person may let it happen once more


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Why the policy said what it said; stored with the approval and in the history."""

    rule: str  # JSON pointer into policy.json, or "(hidden)", "(default deny)", …
    reason: str
    policy_hash: str
    matched: str = ""  # the very condition with its value: "amount 120000 > 50000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One held call: a one-time permit bound to exactly that call. A snapshot of its row."""

    id: str
    revision: int
    version: int  # counts every change of the row; the compare-and-set key
    asked: str  # the digest the agent asked for; an edit leaves it, so its repeats still attach
    digest: str  # of grant, server, tool, arguments, tool definition: what may run
    arguments_digest: str
    call: Call  # arguments b"" in lists, and after retention has dropped them
    ruling: Ruling
    terms: Terms
    effect: str | None
    effect_after: str | None  # who had done it, or perhaps, as reviewers are shown: "done:call_…"
    state: State
    execution: Execution
    delivery: Delivery
    settlement: Settlement | None
    created_at: Millis
    expires_at: Millis
    decided_at: Millis | None
    use_by: Millis | None
    claimed_at: Millis | None
    finished_at: Millis | None
    reason: str  # of the decision: the denial's text, or why it was superseded
    decided_by: str
    decided_via: str
    attempts: int  # identical calls received while it was open or remembered
    masked: str  # canonical JSON of the arguments as people may see them
    attached_until: Millis | None  # the agent waits in place until then,
    attached_to: str | None  # if this process lives so long; "task": it follows a task
    delivered_at: Millis | None
    lease_until: Millis | None  # the claimer's; past it the outcome is unknown
    result_digest: str
    round: int = 0  # questions the server has asked so far
    redact: tuple[str, ...] = ()  # the policy's paths that are masked, scanner or not
    metadata_masked: str = ""  # canonical JSON of what people see of `call.metadata`; "": nothing
    metadata_digest: str = ""

    @property
    def risk(self) -> Risk:
        """How risky the call is, everywhere it is shown, sorted or confirmed."""
        return self.terms.risk or MIDDLE

    @property
    def edited(self) -> bool:
        """Whether a reviewer changed what the agent asked for."""
        return self.digest != self.asked

    @property
    def grave(self) -> bool:
        """Whether it is approved one by one, and by more than one press."""
        return self.risk in ("high", "critical")

    @property
    def lowered_from(self) -> Risk | None:
        """The risk of the tool's class where a rule sets a lower one; None where none does."""
        tool = self.terms.tool_risk
        lower = tool is not None and RISKS.index(self.risk) < RISKS.index(tool)
        return tool if lower else None


SHORT_ID: Final = len("apr_") + 6
"""Characters of an approval's id by which people tell approvals apart, and at least need to ask."""


def short_id(approval_id: str) -> str:
    return approval_id[:SHORT_ID]


class Choice(StrEnum):
    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One reviewer's vote on one revision."""

    approval_id: str
    revision: int
    reviewer: str
    choice: Choice
    reason: str
    via: Via
    at: Millis
    view_digest: str = ""  # of what the reviewer was shown


Role = Literal["viewer", "approver", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """A person who may decide, as a surface proved them. `id` is the name policies use."""

    id: str
    role: Role
    identities: tuple[str, ...] = ()  # further names the same person is known by
    verified: str = ""  # how: "session", "cli", "slack", "oidc", "token"

    @property
    def may_decide(self) -> bool:
        """Whether the role lets this person decide at all; `permission` asks about one approval."""
        return self.role in ("approver", "admin")

    def names(self) -> frozenset[str]:
        """Every name under which a policy may mean this person."""
        return frozenset((self.id, *self.identities))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What a reviewer says to one revision of a held call, before it is counted and kept."""

    revision: int  # the one they looked at
    reviewer: Reviewer
    choice: Choice
    reason: str = ""
    via: Via
    view_digest: str = ""  # of what they were shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentEdit:
    """The arguments a reviewer wants in the place of those of one revision."""

    revision: int  # the one they looked at
    reviewer: Reviewer
    arguments: bytes  # canonical JSON of an object
    via: Via


def tally(decisions: tuple[Decision, ...], terms: Terms, revision: int) -> int:
    """How many more distinct people must approve this revision. 0: the quorum is reached."""
    people = {
        decision.reviewer
        for decision in decisions
        if decision.revision == revision and decision.choice is Choice.APPROVE
    }
    return max(0, terms.quorum - len(people))


class Event(NamedTuple):
    """One row of the history before it has a place in the chain. Text is "" when absent.

    A tuple, because two are made for every allowed call and a frozen dataclass of this width costs
    more than its durable row. Build it by keyword; the order is the order of the hashed row.
    """

    event: str  # "allowed", "denied", "limited", "held", "approved", "claimed", "succeeded", …
    approval_id: str | None = None
    revision: int | None = None
    call_id: str | None = None  # ties an allowed call to its outcome
    actor_kind: str = ""  # "agent", "reviewer", "gateway", "operator"
    actor: str = ""
    verified: str = ""  # how the actor was proven
    via: str = ""
    grant: str = ""
    server: str = ""
    tool: str = ""
    arguments: str | None = None  # masked canonical JSON
    arguments_digest: str = ""
    presented_digest: str = ""  # of the call this row is about: asked, approved or sent
    policy_hash: str = ""
    rule: str = ""
    verdict: str = ""  # "allow", "deny", "limited", "hold"
    reason: str = ""
    outcome: str = ""  # an Execution, once something was sent
    result_digest: str = ""
    latency_ms: int | None = None
    data: str | None = None  # canonical JSON of what else belongs to this event
    subject: str | None = None  # the signed row this is about; set by `signed` alone
    at: Millis = 0  # 0: the transaction's time


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One row of the history in its place."""

    seq: int
    at: Millis
    event: Event
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The decision, edit or extension stands."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Counted:
    """The vote stands; `missing` more distinct people must approve."""

    approval: Approval
    missing: int


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """Someone or something was first: the approval says who, how and when."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Stale:
    """The reviewer looked at an earlier revision; nothing was changed."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """This person may not do this; `why` is short and made for people."""

    why: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """No such approval, or the short id means several."""


@dataclass(frozen=True, slots=True)
class EffectSettled:
    """Whether a call did what its effect key names is known from now on."""

    holder: str
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class EffectKnown:
    """There is nothing to settle: the key stands so."""

    holder: str
    state: str  # "taken", "done"


SettledEffect = EffectSettled | EffectKnown | NotAllowed | NotFound
Decided = Moved | Counted | AlreadyDecided | Stale | NotAllowed | NotFound

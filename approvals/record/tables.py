"""Every table: the whole schema on one screen. Times are epoch milliseconds, sealed means AES-GCM.

The rows on the hot path (history, counter) are written with Core statements, never as objects.
What keeps each column from anyone who may write the database but has no key stands in `proofs`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

_SEQ = BigInteger().with_variant(Integer, "sqlite")  # INTEGER PRIMARY KEY is SQLite's own rowid

RARE = "event NOT IN ('allowed', 'succeeded')"
"""The condition of an index; a query that repeats it word for word may use it."""

LEDGER = "subject IS NOT NULL"
"""As RARE, of the index that finds the rows about signed rows."""


def _big(*, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Column[int]:
    return Column(
        BigInteger, primary_key=primary_key, nullable=nullable, index=index, autoincrement=False
    )


def _version() -> Column[int]:
    """Of a signed row: counts what was signed under its key; 0 was never signed."""
    return Column(Integer, nullable=False, server_default="0")


def _mac() -> Column[str]:
    """Of a signed row: see `approvals.record.signed`."""
    return Column(Text, nullable=False, server_default="")


class ApprovalRow(SQLModel, table=True):
    __tablename__ = "approval"

    id: str = Field(primary_key=True)
    revision: int = 1
    version: int = 1
    asked: str  # digest of the call as the agent asked; `digest` moves on when it is edited
    digest: str
    arguments_digest: str
    grant_id: str
    grant_label: str
    server: str
    tool: str
    tool_hash: str
    client_name: str = ""
    client_version: str = ""
    session: str = ""
    session_calls: int = 0
    arguments_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    masked: str = Field(sa_column=Column(Text, nullable=False))
    # What the request brought beside its arguments.
    metadata_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    metadata_masked: str | None = Field(default=None, sa_column=Column(Text))
    metadata_digest: str | None = None
    redact: str = "[]"  # JSON list of paths masked, for the next revision
    rule: str
    rule_reason: str
    matched: str = ""
    policy_hash: str
    terms: str = Field(sa_column=Column(Text, nullable=False))  # canonical JSON of Terms
    effect: str | None = None
    effect_after: str | None = None  # who had done this effect, or perhaps, as reviewers are shown
    state: str
    execution: str
    delivery: str
    settlement: str | None = None
    created_at: int = Field(sa_column=_big())
    expires_at: int = Field(sa_column=_big())
    decided_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    use_by: int | None = Field(default=None, sa_column=_big(nullable=True))
    claimed_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    finished_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    delivered_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    owner: str | None = None  # the gateway process that claimed it
    lease_until: int | None = Field(default=None, sa_column=_big(nullable=True))
    attached_until: int | None = Field(default=None, sa_column=_big(nullable=True))  # agent waits
    attached_to: str | None = None  # the process it waits at, or "task"
    reason: str = ""
    decided_by: str = ""
    decided_via: str = ""
    attempts: int = 1
    risk_rank: int = 1  # place in model.RISKS, for the order of the queue
    result_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    result_digest: str = ""
    round: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default="0")
    )  # questions the server has asked so far

    __table_args__ = (
        Index("approval_asked", "asked", "created_at"),
        Index("approval_digest", "digest"),
        Index("approval_open", "state", "execution", "expires_at"),
        Index("approval_pending", "grant_id", "state", "created_at"),
        Index("approval_effect", "server", "effect"),
        Index("approval_similar", "grant_id", "server", "tool", "created_at"),
    )


class EffectRow(SQLModel, table=True):
    """What one effect key of one server stands at: who does it, did it, or may have. No row: free.

    A row forbids runs, so what another hand deletes or changes here could permit one more. Every
    taking, and everything that frees or settles a key, is a row of the history, and verify.py
    folds them: a run without room for it is found there.
    """

    __tablename__ = "effect"

    server: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    state: str  # "taken", "done", "unknown"
    holder: str = Field(index=True)  # the approval ("apr_…") or the allowed call ("call_…")
    grant_id: str
    grant_label: str
    tool: str
    terms: str = Field(sa_column=Column(Text, nullable=False))  # under which it is settled
    keep: int  # seconds for which it counts once it is done
    again: bool  # whether a person may let it happen once more
    taken_at: int = Field(sa_column=_big())
    until: int | None = Field(default=None, sa_column=_big(nullable=True))
    """Of what is done: as long as that counts. Of a question: as long as it may be answered."""
    owner: str | None = None  # the process that sends an allowed call; None: an approval tells
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())

    __table_args__ = (Index("effect_state", "state", "until"),)


class ProcessRow(SQLModel, table=True):
    """A gateway process that lives: who waits at it waits no longer than it does."""

    __tablename__ = "process"

    id: str = Field(primary_key=True)  # a new one with each start
    name: str = Field(index=True)  # the same after a restart in the same place
    started_at: int = Field(sa_column=_big())
    lease_until: int = Field(sa_column=_big())


class DecisionRow(SQLModel, table=True):
    __tablename__ = "decision"

    id: str = Field(primary_key=True)
    approval_id: str = Field(index=True, foreign_key="approval.id")
    revision: int
    reviewer: str
    choice: str
    reason: str = ""
    via: str
    view_digest: str = ""
    at: int = Field(sa_column=_big())
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())

    __table_args__ = (Index("decision_once", "approval_id", "revision", "reviewer", unique=True),)


class RevisionRow(SQLModel, table=True):
    """The arguments of each earlier revision of an edited approval."""

    __tablename__ = "revision"

    approval_id: str = Field(primary_key=True, foreign_key="approval.id")
    revision: int = Field(primary_key=True)
    arguments_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    masked: str = Field(sa_column=Column(Text, nullable=False))
    digest: str
    edited_by: str
    at: int = Field(sa_column=_big())


class TaskRow(SQLModel, table=True):
    """A held call whose agent does not wait in place but asks for it now and then."""

    __tablename__ = "task"

    approval_id: str = Field(primary_key=True, foreign_key="approval.id")
    envelope_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    answers_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    answered: int | None = None  # the round whose question is answered in full
    created_at: int = Field(sa_column=_big())
    cancelled_at: int | None = Field(default=None, sa_column=_big(nullable=True))


class SpentRow(SQLModel, table=True):
    """A request state that was used: it opens nothing again. Kept until it is out of date."""

    __tablename__ = "spent"

    id: str = Field(primary_key=True)
    until: int = Field(sa_column=_big(index=True))


class HistoryTable(SQLModel, table=True):
    """Append-only, hash-chained, gapless. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "history"

    seq: int = Field(sa_column=Column(_SEQ, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=_big())
    event: str
    approval_id: str | None = None
    revision: int | None = None
    call_id: str | None = None
    actor_kind: str
    actor: str
    verified: str
    via: str
    grant_id: str
    server: str
    tool: str
    arguments: str | None = Field(default=None, sa_column=Column(Text))
    arguments_digest: str
    presented_digest: str
    policy_hash: str
    rule: str
    verdict: str
    reason: str
    outcome: str
    result_digest: str
    latency_ms: int | None = None
    data: str | None = Field(default=None, sa_column=Column(Text))
    subject: str | None = None  # the signed row that this row tells of; see approvals.record.signed
    prev_hash: str
    hash: str

    __table_args__ = (
        Index(
            "history_approval",
            "approval_id",
            "seq",
            sqlite_where=text("approval_id IS NOT NULL"),
            postgresql_where=text("approval_id IS NOT NULL"),
        ),
        # What is rare beside allowed calls is found at once, and allowed calls pay nothing for it.
        Index(
            "history_rare",
            "event",
            "seq",
            sqlite_where=text(RARE),
            postgresql_where=text(RARE),
        ),
        Index("history_ledger", "seq", sqlite_where=text(LEDGER), postgresql_where=text(LEDGER)),
    )


class CounterRow(SQLModel, table=True):
    """How much of a limit is used in its current window."""

    __tablename__ = "counter"

    key: str = Field(primary_key=True)  # counter name and the scope's subject
    window_start: int = Field(sa_column=_big())
    used: str  # exact decimal


class GrantRow(SQLModel, table=True):
    __tablename__ = "grant"

    id: str = Field(primary_key=True)
    label: str
    token_hash: str = Field(index=True, unique=True)
    servers: str  # JSON list; ["*"] means every server
    owner: str = ""  # the reviewer whose agent this is, for `not_owner`
    hold: int | None = None  # seconds a held call may wait in place
    patience: int | None = None  # seconds after which its client was seen to give up
    created_at: int = Field(sa_column=_big())
    expires_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    revoked_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class ReviewerRow(SQLModel, table=True):
    __tablename__ = "reviewer"

    id: str = Field(primary_key=True)
    role: str
    identities: str = "[]"  # JSON list: "slack:T1/U1", "oidc:…", an e-mail
    created_at: int = Field(sa_column=_big())
    removed_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class CredentialRow(SQLModel, table=True):
    """What proves a reviewer: a one-time sign-in link, a browser session or an API token."""

    __tablename__ = "credential"

    token_hash: str = Field(primary_key=True)
    kind: str  # "link", "session", "token"
    reviewer: str = Field(index=True, foreign_key="reviewer.id")
    # Of a session, set when it is made and never again: what proves a change made in it. It permits
    # something: the page's public key, "host" (its cookie alone) or "none" (it only reads).
    binding: str | None = None
    created_at: int = Field(sa_column=_big())
    expires_at: int = Field(sa_column=_big())
    used_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    revoked_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class NonceRow(SQLModel, table=True):
    """A signed request of a browser session that was made: the same is not good again. Kept until
    the session is over. A row refuses and permits nothing; without it only a request that someone
    had recorded on its way to the gateway could be sent twice.
    """

    __tablename__ = "nonce"

    session: str = Field(primary_key=True)
    nonce: str = Field(primary_key=True)
    until: int = Field(sa_column=_big(index=True))


class PinRow(SQLModel, table=True):
    """What one server said of one tool, prompt, template or itself, pinned: agents see nothing
    else of it. Permits: a tool is called only while `hash` is `seen_hash`.
    """

    __tablename__ = "pin"

    server: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)  # "tool", "prompt", "template", "instructions"
    name: str = Field(primary_key=True)  # of a template its uriTemplate; of instructions ""
    hash: str  # fingerprint of `definition` without its volatile keys
    call_hash: str  # names this pin in the identity of calls; moves on when another is accepted
    definition: str = Field(sa_column=Column(Text, nullable=False))  # canonical JSON
    seen_hash: str  # of what the server last said otherwise; `hash` when it is not in quarantine
    seen_definition: str = Field(sa_column=Column(Text, nullable=False))
    volatile: str = "[]"  # JSON list of the keys that may change freely
    carried: bool = False  # pinned when not every key was: the others are taken up once
    first_seen: int = Field(sa_column=_big())
    changed_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    back_at: int | None = Field(default=None, sa_column=_big(nullable=True))  # said as pinned again
    accepted_by: str = ""
    present: bool = True
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class ToolClassRow(SQLModel, table=True):
    """The class a person settled for a tool as it is pinned; gone with a changed definition.

    It permits: it may lower the risk under which the tool's calls are shown and approved.
    """

    __tablename__ = "tool_class"

    server: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    definition_hash: str  # call_hash of the pin it was settled for
    category: str  # of gateway.risk.Category
    settled_by: str
    settled_at: int = Field(sa_column=_big())
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class OutboxRow(SQLModel, table=True):
    """What must be told to the outside: written with the change it tells, sent at least once."""

    __tablename__ = "outbox"

    id: str = Field(primary_key=True)
    notifier: str
    approval_id: str = Field(index=True)
    kind: str
    payload: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    tries: int = 0
    due_at: int = Field(sa_column=_big(index=True))
    done_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    error: str = ""


class SettingRow(SQLModel, table=True):
    """Small facts that must survive a restart: freezes, exported heads, learned hold times."""

    __tablename__ = "setting"

    key: str = Field(primary_key=True)
    value: str = Field(sa_column=Column(Text, nullable=False))
    at: int = Field(sa_column=_big())
    row_version: int = Field(default=0, sa_column=_version())
    mac: str = Field(default="", sa_column=_mac())


class SlackMessageRow(SQLModel, table=True):
    """One message in Slack: written before it is sent, so that a crash forgets none.

    A "card" shows one approval, a "digest" several of one agent, a "note" lies in their thread.
    """

    __tablename__ = "slack_message"

    id: str = Field(primary_key=True)  # of the approval, the kind and the target: posted once
    approval_id: str = Field(index=True)
    kind: str
    target: str  # the channel as the policy or the settings name it
    parent: str = ""  # of a collapsed approval: the digest that shows it; of a digest: the grant
    channel: str = ""  # Slack's id; "" until it is known to be posted
    ts: str = ""
    revision: int = 0
    version: int = 0  # of the approval, as last shown
    shown: str = ""  # digest of what was last shown
    posts: int = 0  # how often it was posted: once more when someone deleted it
    state: str = "open"  # "open", "gone" (deleted, not ours), "failed" (Slack refuses the channel)
    error: str = ""
    busy_until: int | None = Field(default=None, sa_column=_big(nullable=True))  # someone sends it
    doubt_at: int | None = Field(default=None, sa_column=_big(nullable=True))  # perhaps posted then
    at: int = Field(sa_column=_big())  # of the last send

    __table_args__ = (
        Index("slack_message_parent", "parent"),
        Index("slack_message_place", "channel", "ts"),
    )

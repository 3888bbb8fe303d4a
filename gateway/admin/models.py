"""What administrators are shown and choose from: values without behaviour. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from approvals.model import Millis
from gateway.policy.problems import PolicyProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLine:
    """One tool of one server, as the catalogue and the policy in force see it."""

    server: str
    name: str
    description: str
    risk: str  # "low" to "critical"
    kind: str  # "read", "write", "execute", "destructive", "financial", "other"
    verdict: str  # "allow", "limited", "sometimes", "hold", "deny", "hidden"
    rule: str
    changed: bool = False  # its definition differs from the pinned one
    new: bool = False  # listed nowhere in the policy, and no one has looked at it yet
    seen_hash: str = ""  # of the definition as the server states it now
    why: str = ""  # the class's rationale, in our own words
    attacks: tuple[str, ...] = ()  # names of the attack patterns its class lends itself to
    settled_by: str = ""  # who settled its class; "": it is a guess
    habit: bool = False  # most tools of its server claim to be destructive, as it does
    volatile: tuple[str, ...] = ()  # keys of its definition that may change freely

    @property
    def refused(self) -> bool:
        """Whether its calls are refused, whatever the policy says of it, until someone settles
        what its server changed.
        """
        return self.changed and self.verdict not in ("deny", "hidden")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine:
    id: str
    label: str
    servers: tuple[str, ...]
    owner: str
    created_at: Millis
    expires_at: Millis | None
    revoked_at: Millis | None
    frozen_at: Millis | None
    patience: int | None = None  # seconds after which its client was seen to give up waiting
    waits: int | None = None  # seconds a held call waits in place because of that


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLine:
    name: str
    address: str  # a URL without credentials, or the command's first word
    state: str  # "ready", "down", "idle", or "waiting" to be confirmed
    tools: int
    frozen: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field of a definition, as text; None where that side lacks it."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPin:
    """A tool, prompt, template or instructions that the server described differently from what was
    accepted.
    """

    kind: str  # "tool", "prompt", "template", "instructions"
    name: str
    changed_at: Millis | None
    back_at: Millis | None  # since then the server says again what is pinned
    pinned_hash: str
    seen_hash: str
    fields: tuple[FieldDiff, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What of one server waits for a person to settle it, as shown together."""

    server: str
    pins: tuple[ChangedPin, ...]
    digest: str  # of all the new definitions: what someone who saw them names


@dataclass(frozen=True, slots=True)
class ChangedServer:
    """How much of a server waits for a person."""

    server: str
    tools: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedServer:
    """A server that is not started or reached until an administrator confirms how."""

    name: str
    what: str  # all that is confirmed of it, variables not put in, on one line
    revision: str  # what a confirmation names
    known: bool = False  # whether something was confirmed of it before
    changes: tuple[FieldDiff, ...] = ()  # how it differs from that


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """The policy in force, as it stands in the file."""

    text: str
    hash: str
    path: str
    loaded_at: Millis
    problems: tuple[str, ...] = ()  # of a newer file that was refused
    confirms: bool = False  # an edit by hand that may open something waits to be confirmed


Choice = Mapping[str, Any] | Literal["hide"] | None
"""What policy.json says of one tool by its name: its rules, that it is hidden, or nothing."""


@dataclass(frozen=True, slots=True)
class PolicyOnDisk:
    """policy.json as it is on disk, which may be newer than what is in force."""

    text: str
    revision: str  # of its bytes: what a change names
    usable: bool  # it has no errors


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRules:
    """What policy.json says of one tool, for the form that changes it."""

    revision: str
    choice: Choice
    older: bool  # written in an older spelling: a change writes the present one
    hidden_by: str  # a glob of `hide` that this form cannot take away, or ""
    default: str  # what happens where nothing is said
    others: tuple[tuple[str, str], ...]  # further rules that apply: pointer, words
    verdict: str  # as of `ToolLine`
    rule: str
    paths: tuple[str, ...]  # of the tool's arguments
    groups: tuple[str, ...]  # of reviewers


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new text of policy.json, looked at and not saved."""

    text: str
    revision: str  # of the file it would replace
    valid: bool
    problems: tuple[PolicyProblem, ...]  # all of them
    news: tuple[PolicyProblem, ...]  # those the file does not have already
    changes: tuple[str, ...]  # what is enforced otherwise, in words
    lines: tuple[tuple[str, str], ...]  # of the file: "+", "-", " " or "@", and the line
    before: tuple[str, str] | None  # of the tool: verdict and rule
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of saving. "changed": the file is no longer what the draft was made on. "waiting":
    what stands in the file waits to be confirmed, and saving would confirm it unseen.
    """

    outcome: Literal["saved", "same", "changed", "waiting", "invalid", "unwritable"]
    hash: str = ""  # of the policy that was saved


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedPolicy:
    """policy.json where it is not what was confirmed."""

    revision: str  # of its bytes: what a confirmation names
    in_force: bool  # it closes for sure, and counts already
    closed: bool  # it waits, and an earlier edit that closes more is in force meanwhile
    since: Millis
    opens: tuple[str, ...]  # against what was confirmed, in words: what may open something
    changes: tuple[str, ...]  # all other changes
    lines: tuple[tuple[str, str], ...]  # as of a `Draft`, against the confirmed text

"""What the judge may say of a call: Allow, Deny or Hold. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from approvals.model import Ruling, Terms
from gateway.policy.limit import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may run once the charges are taken."""

    ruling: Ruling
    charges: tuple[Charge, ...] = ()
    effect: str | None = None  # the key of what the call does in the world


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The call is refused; `ruling.reason` is for the agent."""

    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The call waits for a person under `terms`; the charges are taken when it is claimed."""

    ruling: Ruling
    terms: Terms
    charges: tuple[Charge, ...] = ()
    effect: str | None = None


Verdict = Allow | Deny | Hold

"""What the judge may say of a call: Allow, Deny or Hold. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from approvals.model import EffectClaim, Ruling, Terms
from gateway.policy.limit import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may run once the charges are taken, and its effect."""

    ruling: Ruling
    charges: tuple[Charge, ...] = ()
    claim: EffectClaim | None = None

    @property
    def effect(self) -> str | None:
        """The key of what the call does in the world."""
        return None if self.claim is None else self.claim.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The call is refused; `ruling.reason` is for the agent."""

    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The call waits for a person under `terms`; the rest is taken when it is claimed."""

    ruling: Ruling
    terms: Terms
    charges: tuple[Charge, ...] = ()
    claim: EffectClaim | None = None

    @property
    def effect(self) -> str | None:
        """The key of what the call does in the world."""
        return None if self.claim is None else self.claim.key


Verdict = Allow | Deny | Hold

"""The rules in force: what policy, pins and freezes say of a call together, as they are now.

Reads what is kept in memory and writes nothing; `guard` records what it says. Not pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from approvals.aside import LARGE, elsewhere
from approvals.differences import Path, text
from approvals.model import Call, Ruling
from approvals.redact import masked, plain, visible
from gateway.enforcement import input_schema, refusals
from gateway.enforcement.catalogue import Catalogue, Tool
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.policy_file import PolicyFile
from gateway.enforcement.refusal_texts import reads_as_ours
from gateway.enforcement.refusals import Refusal
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import (
    QUARANTINED,
    Deny,
    Verdict,
    can_hold,
    hidden,
    judge,
    redact_paths,
)
from gateway.policy.rules import Policy

UNKNOWN = "(unknown argument)"
"""The rule that refuses a name which the tool's definition does not know and does not allow."""

_MOST_FACTS = 4_096  # tools whose facts are kept

_NAME_ROOM = 80  # characters of such a name that the agent is told

FROZEN = "(frozen)"
"""The rule an agent is told when an operator has stopped it."""


class RulesInForce:
    """Judges calls by what is in force at that moment."""

    def __init__(
        self,
        policies: PolicyFile,
        catalogue: Catalogue,
        freezes: Freezes,
        *,
        trusted: frozenset[str],
        fingerprint: bytes,
    ) -> None:
        self._policies = policies
        self._catalogue = catalogue
        self._freezes = freezes
        self._trusted = trusted  # servers whose annotations may loosen rules
        self._fingerprint = fingerprint  # the key of what is masked
        self._facts: dict[tuple[str, str], tuple[Tool, ToolFacts]] = {}

    def hidden(self, server: str, tool: object) -> bool:
        """Whether the tool must be absent from every list. One that is called like the gateway's
        own is, whatever the policy says: its words would be taken for the gateway's.
        """
        if not isinstance(tool, str) or reads_as_ours(tool):
            return True
        return hidden(self._policies.current, server, tool)

    def can_hold(self, server: str) -> bool:
        """Whether some call to this server may be held."""
        return can_hold(self._policies.current, server)

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

    def call_hash(self, call: Call) -> str:
        """The hash of the tool's pinned definition; "" when the server never listed it."""
        tool = self._catalogue.tool(call.server, call.tool)
        return tool.call_hash if tool is not None else ""

    def judge(self, call: Call, arguments: Mapping[str, Any]) -> Verdict:
        """The verdict on a call, here and now. For a large call prefer `judged`."""
        return self._verdict(self._policies.current, call, arguments)

    async def judged(self, call: Call, arguments: Mapping[str, Any]) -> tuple[Policy, Verdict, str]:
        """The verdict, by what policy, and the arguments as people may see them. By what is in
        force when it returns: a large call is judged beside the event loop, where an operator may
        stop it meanwhile.
        """
        if len(call.arguments) <= LARGE:
            policy = self._policies.current
            return policy, *self._judge_and_mask(policy, call, arguments)
        while True:
            policy = self._policies.current
            stopped = self._freezes.reason(call.grant, call.server)
            known = self._standing(call)
            judged = await elsewhere(partial(self._judge_and_mask, policy, call, arguments))
            if (
                policy is self._policies.current
                and stopped == self._freezes.reason(call.grant, call.server)
                and known == self._standing(call)
            ):
                return policy, *judged

    def _standing(self, call: Call) -> tuple[str, bool] | None:
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
        return self._verdict(policy, call, arguments), shown

    def _verdict(self, policy: Policy, call: Call, arguments: Mapping[str, Any]) -> Verdict:
        stopped = self._freezes.reason(call.grant, call.server)
        if stopped is not None:
            return Deny(ruling=Ruling(rule=FROZEN, reason=stopped, policy_hash=policy.hash))
        tool = self._catalogue.tool(call.server, call.tool)
        facts = ToolFacts(name=call.tool) if tool is None else self._facts_of(tool)
        verdict = judge(
            policy, call, tool=facts, grant=GrantFacts(label=call.grant_label), args=arguments
        )
        if tool is None or not tool.closed or isinstance(verdict, Deny):
            return verdict
        unknown = input_schema.unknown_name(tool.definition.get("inputSchema"), arguments)
        return verdict if unknown is None else _unknown(policy, unknown)

    def _facts_of(self, tool: Tool) -> ToolFacts:
        """What rules can look at of a tool, made once for each."""
        name = (tool.server, tool.name)
        kept = self._facts.get(name)
        if kept is None or kept[0] is not tool:
            if len(self._facts) >= _MOST_FACTS:  # tools that are gone among them
                self._facts.clear()
            kept = self._facts[name] = (tool, tool.facts(self._trusted))
        return kept[1]


def _unknown(policy: Policy, place: Path) -> Deny:
    name = visible(text(place).removeprefix("args."))[:_NAME_ROOM]
    reason = f'The definition of this tool has no argument "{name}".'
    return Deny(ruling=Ruling(rule=UNKNOWN, reason=reason, policy_hash=policy.hash))

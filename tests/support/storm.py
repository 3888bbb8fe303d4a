"""A storm: agents call, reviewers decide, and gateways are killed again and again under them.

What everybody was told is written down; `Storm.check` holds it against the witness and the record.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.killable_gateways import DOWN, Gateway, Ground, decision_of, text_of
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE

TOOLS: dict[str, Any] = {
    "free": {},
    "held": {"require_approval": {"expires": "1h", "use_within": "1h"}},
}
OK = 200
BREATH = 0.005  # seconds between two looks at a gateway that is away
FINAL = {"denied": "denied", "outcome_unknown": "unknown"}


@dataclass
class Told:
    """What agents and reviewers heard."""

    sent: set[str] = field(default_factory=set)  # keys of allowed calls, each sent once
    held: dict[str, str] = field(default_factory=dict)  # key -> the last word on a held call
    listed: set[str] = field(default_factory=set)  # approvals any reviewer ever saw
    decided: dict[str, str] = field(default_factory=dict)  # approval -> acknowledged choice
    odd: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


class Storm:
    """Agents and two reviewers at gateways that die, or whose database does."""

    def __init__(self, ground: Ground, gateways: Sequence[Gateway], seed: int) -> None:
        self.ground = ground
        self.gateways = gateways
        self.seed = seed
        self._chance = random.Random(f"{seed} gateway")
        self.told = Told()
        self.faults: Counter[str] = Counter()
        self._enough = threading.Event()  # no new calls
        self._over = threading.Event()
        agents = [
            threading.Thread(target=self._agent, args=(place, token), name=f"agent {place}")
            for place, token in enumerate(ground.agents)
        ]
        reviewers = [
            threading.Thread(target=self._reviewer, args=(place, token), name=f"reviewer {place}")
            for place, token in enumerate((ground.reviewer, ground.other_reviewer))
        ]
        self._agents, self._reviewers = agents, reviewers

    @property
    def gateway(self) -> Gateway:
        """Any of them."""
        return self._chance.choice(self.gateways)

    def rage(
        self, rounds: int, longest: float, faults: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        """So many faults, each between 0.05 and `longest` seconds after the last one is over: kills
        of a gateway, unless others are given.
        """
        rng = random.Random(self.seed)
        possible = {"kills": self.kill} if faults is None else faults
        for thread in (*self._agents, *self._reviewers):
            thread.start()
        try:
            for _ in range(rounds):
                self._over.wait(rng.uniform(0.05, longest))
                name = rng.choice(list(possible))
                possible[name]()
                self.faults[name] += 1
        finally:
            self._calm()

    def kill(self) -> None:
        """kill -9 of a gateway, and another in its place."""
        gateway = self.gateway
        gateway.end()
        gateway.start()

    def _calm(self) -> None:
        """Let every call come to its end."""
        self._enough.set()
        for thread in self._agents:
            thread.join(PATIENCE)
        self._over.set()
        for thread in self._reviewers:
            thread.join(PATIENCE)
        alive = [thread.name for thread in (*self._agents, *self._reviewers) if thread.is_alive()]
        assert not alive, f"seed {self.seed}: never came to an end: {alive}"

    def _agent(self, place: int, token: str) -> None:
        rng = random.Random(f"{self.seed} agent {place}")
        number = 0
        while not self._enough.is_set():
            number += 1
            key = f"{place}-{number}"
            if rng.random() < 0.4:
                self._call_once(token, key)
            else:
                self._call_to_the_end(token, key)

    def _call_once(self, token: str, key: str) -> None:
        self.told.sent.add(key)
        try:
            status, _ = self.gateway.call(token, "free", key=key)
        except DOWN:
            self._over.wait(BREATH)
        else:
            if status != OK:
                self.told.refused[status] += 1

    def _call_to_the_end(self, token: str, key: str) -> None:
        """Repeat the identical call, as agents are told to, until it has an end."""
        self.told.held[key] = "open"
        while self.told.held[key] == "open":
            try:
                status, answer = self.gateway.call(token, "held", key=key, patience=10)
            except DOWN:
                self._over.wait(BREATH)
                continue
            if status != OK:
                self.told.refused[status] += 1
                continue
            self.told.held[key] = self._word(key, answer)

    def _word(self, key: str, answer: Any) -> str:
        if not answer["result"]["isError"]:
            return "ran" if text_of(answer) == f"held {key}" else f"another's answer: {answer}"
        word = decision_of(answer).get("status", "")
        return FINAL.get(word, "open")

    def _reviewer(self, place: int, token: str) -> None:
        rng = random.Random(f"{self.seed} reviewer {place}")
        while not self._over.is_set():
            try:
                status, found = self.gateway.ask("GET", "/api/v1/pending?limit=500", token)
                if status != OK:
                    self.told.refused[status] += 1
                    self._over.wait(BREATH)
                    continue
                listed = [item["id"] for item in found["items"]]
                self.told.listed.update(listed)
                if not listed:
                    self._over.wait(BREATH)
                    continue
                chosen = rng.choice(listed)
                choice = "approve" if rng.random() < 0.75 else "deny"
                status, _ = self.gateway.decide(chosen, choice, token)
            except DOWN:
                self._over.wait(BREATH)
                continue
            if status == OK:
                if chosen in self.told.decided:
                    self.told.odd.append(f"{chosen} was decided twice")
                self.told.decided[chosen] = choice

    def check(self, *, record_dies: bool = False) -> dict[str, int]:
        """Hold what was told against the witness and the record; the figures.

        A record that dies may take a COMMIT and not live to say so: then an agent is told that the
        outcome is unknown, and the record knows it.

        Raises:
            AssertionError: something was lost, ran twice, ran unapproved or hangs.
        """
        eventually(lambda: not self._rows("execution = 'executing'"))
        enough = {"outcome_unknown", "succeeded"} if record_dies else {"outcome_unknown"}
        problems = [*self.told.odd, *self._lost(), *self._executions(enough)]
        assert not problems, f"seed {self.seed}: {problems[:10]}"
        self.ground.assert_intact()
        words = Counter(self.told.held.values())
        return {
            **self.faults,
            "allowed calls": len(self.told.sent),
            "held calls": len(self.told.held),
            "executions": len(self.ground.witness.ran()),
            "decisions acknowledged": len(self.told.decided),
            **dict(words),
            **{f"HTTP {status}": count for status, count in self.told.refused.items()},
        }

    def _rows(self, where: str) -> list[tuple[Any, ...]]:
        return self.ground.rows(
            f"SELECT id, state, execution, masked FROM approval WHERE {where}"  # noqa: S608
        )

    def _lost(self) -> list[str]:
        states = {row[0]: row[1] for row in self._rows("1 = 1")}
        wanted = {"approve": {"approved"}, "deny": {"denied"}}
        return [
            *(f"{one} was listed and is gone" for one in self.told.listed - states.keys()),
            *(
                f"{one} was {choice}d and is {states[one]}"
                for one, choice in self.told.decided.items()
                if states[one] not in wanted[choice]
            ),
            *(f"{one} hangs as {state}" for one, state in states.items() if state == "pending"),
        ]

    def _executions(self, unknown: set[str]) -> list[str]:
        """Every execution has its verdict, and every verdict at most one."""
        ran = Counter(self.ground.witness.ran())
        permits: dict[str, list[tuple[str, str]]] = {}
        for _, state, execution, masked in self._rows("1 = 1"):
            permits.setdefault(json.loads(masked)["key"], []).append((state, execution))
        allowed = {
            json.loads(row[0])["key"]
            for row in self.ground.rows("SELECT arguments FROM history WHERE event = 'allowed'")
        }
        problems = [
            f"{tool} {key} ran {times} times" for (tool, key), times in ran.items() if times > 1
        ]
        for tool, key in ran:
            if tool == "free" and key not in allowed:
                problems.append(f"{key} ran without a verdict")
            if tool == "held" and ("approved", "none") in permits.get(key, [("", "")]):
                problems.append(f"{key} ran and its permit is unused")
            if tool == "held" and not any(state == "approved" for state, _ in permits.get(key, [])):
                problems.append(f"{key} ran unapproved")
        for key, word in self.told.held.items():
            times = ran[("held", key)]
            ends = [execution for _, execution in permits.get(key, [])]
            if (word, times) not in {("ran", 1), ("denied", 0), ("unknown", 0), ("unknown", 1)}:
                problems.append(f"{key}: told {word}, ran {times} times")
            if times < ends.count("succeeded"):
                problems.append(f"{key} never ran and stands as succeeded")
            if word == "unknown" and unknown.isdisjoint(ends):
                problems.append(f"{key}: told unknown, stands as {ends}")
        return problems

"""What a tool can do, guessed from its definition: class, risk, recommended rule, known attacks.

A guess made of words, explained and repeatable. It never loosens a policy: `policy.json` decides.
Pure, but for reading the attack catalogue that ships beside it.
"""

from gateway.risk.assessment import Assessment, Category, Confidence, Signal
from gateway.risk.attacks import Attack, attacks_for, catalogue
from gateway.risk.classify import classify
from gateway.risk.fellows import classify_all
from gateway.risk.recommend import recommend, scaffold

__all__ = [
    "Assessment",
    "Attack",
    "Category",
    "Confidence",
    "Signal",
    "attacks_for",
    "catalogue",
    "classify",
    "classify_all",
    "recommend",
    "scaffold",
]

"""What the agent receives: the texts, word for word."""

from __future__ import annotations

from approvals.model import Ruling
from gateway.enforcement import refusal_texts
from gateway.policy.verdict import Allow
from tests.policy.asking import ask, one

RULING = Ruling(rule="/tools/delete_*", reason="Deleting is not for agents.", policy_hash="h")
AT = 1_700_071_200_000  # 2023-11-15T18:00:00Z


def test_a_denial_names_reason_and_rule() -> None:
    assert refusal_texts.text_for_deny(RULING) == (
        "Policy violation: Deleting is not for agents. (rule /tools/delete_*)"
    )


def test_a_limit_says_when_to_try_again() -> None:
    verdict = ask(
        one(
            limits=[
                {"counter": "close_session_rate", "window": "minute", "max": 60, "scope": "grant"}
            ]
        )
    )
    assert isinstance(verdict, Allow)
    assert refusal_texts.text_for_limit(verdict.charges[0].limit, 23) == (
        "Rate limit reached: close_session_rate allows 60 per minute. Try again in 23 s."
    )


def test_a_pending_call_carries_its_handle() -> None:
    assert refusal_texts.text_for_pending("apr_7", "Charges need a person.", AT) == (
        "Not executed yet: approval apr_7 is needed (Charges need a person). Expires 18:00Z. "
        'Call signoff_await_approval with {"approval_id": "apr_7"} or repeat the identical call '
        "to get the outcome. Do not look for another way."
    )


def test_the_ends_of_an_approval_have_their_texts() -> None:
    assert (
        refusal_texts.denied_by("alice", "wrong environment")
        == "Denied by alice: wrong environment."
    )
    assert refusal_texts.expired(1800) == "Approval expired: no one decided in 30 minutes."
    assert refusal_texts.outcome_unknown() == (
        "Outcome unknown: the server did not answer. It was not sent again."
    )


def test_texts_people_wrote_are_one_short_line() -> None:
    text = refusal_texts.denied_by("alice", "a\n\nb" + "x" * 2000)
    assert "\n" not in text
    assert len(text) < 600


def test_the_meta_has_what_is_known_and_nothing_else() -> None:
    assert refusal_texts.decision_meta(verdict="deny", ruling=RULING) == {
        "verdict": "deny",
        "rule": "/tools/delete_*",
        "reason": "Deleting is not for agents.",
        "policy_hash": "h",
    }
    held = refusal_texts.decision_meta(
        verdict="hold", ruling=RULING, approval_id="apr_7", status="pending", expires_at=AT
    )
    assert held["expires_at"] == "2023-11-15T18:00:00Z"
    assert held["approval_id"] == "apr_7"
    result = refusal_texts.refusal("x", held)
    assert result["isError"] is True
    assert result["_meta"] == {"dev.signoff/decision": held}

"""A held call as the agent sees it from afar: the Task of SEP-2663. Pure.

What people decided is a result like any other, `completed` with isError: `failed` is kept for
JSON-RPC errors. Waiting for a person is `working`: `input_required` would ask the agent's own user.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from approvals.model import Approval, Execution, Millis, State, short_id
from approvals.reversal import runs_from, taken_back
from approvals.tasks import Task
from gateway.enforcement import refusal_texts, refusals
from gateway.enforcement.refusal_texts import clock
from gateway.enforcement.refusals import Refusal
from gateway.protocol.strict_json import deeper_than
from gateway.relay.upstreams.reading import RESULT_DEPTH

PREFIX: Final = "gwt_"
KEPT_SECONDS: Final = 86_400
"""For which a task can be asked for after its call's deadline."""

_APPROVAL: Final = "apr_"
_SOON_MS: Final = 2_000
_LATER_MS: Final = 5_000
_YOUNG_MS: Final = 60_000
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


def task_id(approval_id: str) -> str:
    """The task of an approval: the same 128 random bits under another name."""
    return PREFIX + approval_id.removeprefix(_APPROVAL)


def approval_id(task: str) -> str | None:
    """The approval of a task; None if it is no task of ours."""
    return _APPROVAL + task.removeprefix(PREFIX) if task.startswith(PREFIX) else None


def created(approval: Approval, *, now: Millis, url: str) -> dict[str, Any]:
    """The CreateTaskResult."""
    return {
        "resultType": "task",
        **_common(approval, now),
        "status": "working",
        "statusMessage": _waiting(approval, url),
    }


def shown(task: Task, *, now: Millis, url: str) -> dict[str, Any]:
    """The DetailedTask, as tasks/get answers and notifications/tasks tells it."""
    return {"resultType": "complete", **_common(task.approval, now), **_status(task, url)}


def is_over(detailed: dict[str, Any]) -> bool:
    """Whether nothing more comes."""
    return detailed["status"] in _ENDED


def key_of(number: int, key: str) -> str:
    """A question's key within the task: a server may use one again in its next round."""
    return f"{number}.{key}"


def questions(task: Task) -> dict[str, Any]:
    """What the server asked last and no one has answered yet, by the server's own keys."""
    if task.approval.execution is not Execution.INPUT_REQUIRED:
        return {}
    asked = _response(task).get("result", {}).get("inputRequests")
    found = asked if isinstance(asked, dict) else {}
    return {key: request for key, request in found.items() if key not in task.answers}


def server_state(task: Task) -> str | None:
    """The server's own requestState of its latest question."""
    state = _response(task).get("result", {}).get("requestState")
    return state if isinstance(state, str) else None


def _common(approval: Approval, now: Millis) -> dict[str, Any]:
    times = (
        approval.created_at,
        approval.decided_at,
        approval.claimed_at,
        approval.finished_at,
    )
    young = now - approval.created_at < _YOUNG_MS
    return {
        "taskId": task_id(approval.id),
        "createdAt": _iso(approval.created_at),
        "lastUpdatedAt": _iso(max(at for at in times if at is not None)),
        "ttlMs": approval.expires_at - approval.created_at + KEPT_SECONDS * 1000,
        "pollIntervalMs": _SOON_MS if young else _LATER_MS,
    }


def _status(task: Task, url: str) -> dict[str, Any]:
    approval = task.approval
    match approval.state:
        case State.PENDING:
            return _working(_waiting(approval, url))
        case State.APPROVED:
            return _approved(task)
        case State.DENIED:
            return _refused(refusals.denied_by(approval))
        case State.EXPIRED:
            return _refused(refusals.expired(approval))
        case State.SUPERSEDED:
            return _refused(refusals.superseded(approval))
        case State.WITHDRAWN if taken_back(approval):
            return _refused(refusals.withdrawn(approval))
        case State.WITHDRAWN:
            return {"status": "cancelled", "statusMessage": "The request was withdrawn."}


def _approved(task: Task) -> dict[str, Any]:
    approval = task.approval
    match approval.execution:
        case Execution.NONE:
            later = runs_from(approval)
            return _working(
                f"Approved; it starts no sooner than {_iso(later)}."
                if later
                else "Approved; it runs next."
            )
        case Execution.NOT_EXECUTED:
            return _working("Approved; the server cannot be reached, it is tried again.")
        case Execution.EXECUTING:
            return _working("Approved and running.")
        case Execution.INPUT_REQUIRED:
            open_ones = questions(task)
            if not open_ones:
                return _working("Answered; it runs on.")
            asked = {key_of(approval.round, key): one for key, one in open_ones.items()}
            return {
                "status": "input_required",
                "statusMessage": "The server asks for input.",
                "inputRequests": asked,
            }
        case Execution.OUTCOME_UNKNOWN if task.cancelled_at is not None:
            text = "Cancelled while it ran; the outcome is unknown."
            return {"status": "cancelled", "statusMessage": text}
        case Execution.OUTCOME_UNKNOWN:
            return _refused(refusals.outcome_unknown(approval))
        case Execution.SUCCEEDED | Execution.TOOL_ERROR | Execution.UPSTREAM_ERROR:
            return _answered(_response(task), task)


def _answered(response: dict[str, Any], task: Task) -> dict[str, Any]:
    told = refusals.edited(task.approval, task.edit) if task.edit is not None else None
    result = response.get("result")
    if isinstance(result, dict):
        if told is None:
            return {"status": "completed", "result": result}
        refusals.with_addition(result, told)
        return {"status": "completed", "statusMessage": told.text, "result": result}
    error = response.get("error")
    if not isinstance(error, dict):
        error = {"code": -32603, "message": "The server gave no usable answer"}
    if told is not None:
        refusals.with_data(error, told)
    text = error.get("message")
    said = text if isinstance(text, str) else "The server answered with an error."
    return {"status": "failed", "statusMessage": said, "error": error}


def _working(text: str) -> dict[str, Any]:
    return {"status": "working", "statusMessage": text}


def _refused(refusal: Refusal) -> dict[str, Any]:
    result = refusal.result(modern=True)
    return {"status": "completed", "statusMessage": refusal.text, "result": result}


def _waiting(approval: Approval, url: str) -> str:
    until = clock(approval.expires_at)
    link = f"{url}/approvals/{approval.id}"
    return f"Waiting for approval {short_id(approval.id)} until {until}: {link}"


def _response(task: Task) -> dict[str, Any]:
    """The server's last response; {} where there is none."""
    if task.result is not None and deeper_than(task.result, RESULT_DEPTH):
        return {"error": {"code": -32603, "message": refusal_texts.unreadable()}}
    found = json.loads(task.result) if task.result is not None else {}
    return found if isinstance(found, dict) else {}


def _iso(at: Millis) -> str:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"

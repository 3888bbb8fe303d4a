"""What the surface is built from. Everything it can reach is named here, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter

from approvals.record.clock import Clock
from approvals.record.database import Database
from approvals.reviewers import People
from approvals.service import Approvals, JudgeAgain
from gateway.admin.policy_editor import PolicyEditor
from gateway.admin.service import AdminService
from gateway.operations.status import Alert
from web.border import Border


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the surface is given. `status` says what everybody should know right now."""

    approvals: Approvals
    people: People
    database: Database
    clock: Clock
    border: Border
    public_url: str
    status: Callable[[], tuple[Alert, ...]]
    admin: AdminService
    editor: PolicyEditor
    judge_again: JudgeAgain
    notification_values: bool = False  # desktop notifications may show arguments
    slack: APIRouter | None = None  # Slack's HTTP door; None: it has none

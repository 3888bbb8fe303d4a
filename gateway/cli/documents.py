"""The JSON shapes of the record's reads: the same as the reviewers' API gives. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from approvals.model import HistoryRow
from approvals.view import View
from web.api import summary_of

__all__ = ["approval", "history_row", "summary_of"]


def approval(view: View) -> dict[str, Any]:
    """`signoff.approval/1`: one approval in full, as every reviewer is shown it, and the votes."""
    shown = {
        name: value
        for name, value in asdict(view).items()
        if name not in ("approval", "votes", "voided", "digest")
    }
    return {
        **summary_of(view.approval),
        "reviewers": list(view.approval.terms.reviewers),
        "view": shown,
        "view_digest": view.digest,
        "votes": [
            {
                "reviewer": vote.reviewer,
                "choice": vote.choice,
                "reason": vote.reason,
                "via": vote.via,
                "at": vote.at,
                "revision": vote.revision,
            }
            for vote in (*view.votes, *view.voided)
        ],
    }


def history_row(row: HistoryRow) -> dict[str, Any]:
    """One item of `signoff.history/1`."""
    return {
        "seq": row.seq,
        **row.event._asdict(),
        "prev_hash": row.prev_hash,
        "hash": row.hash,
    }

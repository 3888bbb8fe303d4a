"""The reviewer's side of a test: everything through the public API, with a reviewer's token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from tests.support.live_gateway import Site, eventually
from tests.support.patience import PATIENCE

Row = dict[str, Any]


class Desk:
    """One reviewer and what it can see and press. Close it."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=PATIENCE)

    def close(self) -> None:
        self._http.close()

    def everything(self) -> list[Row]:
        """What waits for a decision."""
        items: list[Row] = self._get("/pending", limit=500)["items"]
        return items

    def pending(self, key: str) -> list[Row]:
        """What waits for a decision and carries this key in its arguments."""
        return [item for item in self.everything() if f'"{key}"' in item["arguments"]]

    def waiting(self, key: str) -> Row:
        """The one approval with this key, once there is one and its agent waits in place."""
        return eventually(lambda: next((row for row in self._full(key) if self._here(row)), None))

    def left(self, approval_id: str) -> Row:
        """The approval once no agent waits in place for it."""

        def gone() -> Row | None:
            row = self.approval(approval_id)
            return None if self._here(row) else row

        return eventually(gone)

    def approval(self, approval_id: str) -> Row:
        return self._get(f"/approvals/{approval_id}")

    def approve(self, approval_id: str) -> Row:
        """Approve it as it stands now; the approval as the decision left it."""
        return self._press(approval_id, "approve", "")

    def edit(self, approval_id: str, changes: Row) -> Row:
        """Change its arguments, by the path they are shown under."""
        body = {"revision": self.approval(approval_id)["revision"], "changes": changes}
        answer = self._http.post(f"/approvals/{approval_id}/edit", json=body)
        answer.raise_for_status()
        moved: Row = answer.json()["approval"]
        return moved

    def deny(self, approval_id: str, reason: str) -> Row:
        return self._press(approval_id, "deny", reason)

    def events(self, **filters: str) -> list[str]:
        """The names of history events, oldest first."""
        items: list[Row] = self._get("/history", **filters)["items"]
        return [item["event"] for item in reversed(items)]

    def rows(self, **filters: str) -> list[Row]:
        """All such rows of the history, newest first."""
        found: list[Row] = []
        page = self._get("/history", **filters)
        while True:
            found += page["items"]
            if page["next"] is None:
                return found
            page = self._get("/history", before=page["next"], **filters)

    def opened(self, key: str) -> int:
        """How many approvals were ever opened for calls with this key."""
        items: list[Row] = self._get("/history", event="held", text=key)["items"]
        return len(items)

    def _full(self, key: str) -> list[Row]:
        return [self.approval(item["id"]) for item in self.pending(key)]

    def _here(self, row: Row) -> bool:
        return bool(row["view"]["waiting"])

    def _press(self, approval_id: str, what: str, reason: str) -> Row:
        body = {"revision": self.approval(approval_id)["revision"], "reason": reason}
        answer = self._http.post(f"/approvals/{approval_id}/{what}", json=body)
        answer.raise_for_status()
        moved: Row = answer.json()["approval"]
        return moved

    def _get(self, path: str, **params: Any) -> Row:
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        found: Row = answer.json()
        return found


@contextmanager
def at_work(site: Site) -> Iterator[Desk]:
    """The gateway runs, and a reviewer sits at this desk."""
    site.start()
    desk = Desk(site.url, site.reviewer())
    try:
        yield desk
    finally:
        desk.close()
        site.stop()

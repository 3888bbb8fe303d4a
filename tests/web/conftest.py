"""An open record and browsers for the surface's tests: real SQLite, real ASGI."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from approvals.model import Role
from tests.support.admin_place import Place, open_place
from tests.support.page_key import FROM_SCRIPT, PageKey
from tests.support.review_scene import Scene, open_scene
from web.app import build

HOST = "http://127.0.0.1:8788"
FROM_OUR_PAGE = {"Origin": HOST, "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Visit:
    """One browser. `post` fills in what the page's own form carries."""

    http: httpx2.AsyncClient  # which signs as the page does

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers=headers)

    @property
    def key(self) -> PageKey:
        assert isinstance(self.http.auth, PageKey)
        return self.http.auth

    async def sign_in(self, code: str, **more: str) -> httpx2.Response:
        """As the sign-in page's script does."""
        sent = {**FROM_OUR_PAGE, **FROM_SCRIPT}
        answer = await self.http.post("/signin", data=self.key.form(code, **more), headers=sent)
        self.key.signed_in(answer)
        return answer

    async def post(
        self, path: str, form: dict[str, str], headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        sent = FROM_OUR_PAGE if headers is None else headers
        return await self.http.post(path, data=form, headers=sent)

    async def form(self, approval_id: str) -> dict[str, str]:
        """The hidden fields of the approval's page, as a browser would send them."""
        page = (await self.get(f"/approvals/{approval_id}")).text
        names = ("csrf", "revision", "view")
        found = {name: re.search(f'name="{name}" value="([^"]*)"', page) for name in names}
        return {name: match.group(1) for name, match in found.items() if match}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    opened = open_scene(tmp_path)
    yield opened
    opened.wakeup.close()
    await opened.database.close()


@pytest.fixture
def app(scene: Scene) -> FastAPI:
    return build(scene.services())


@dataclass(frozen=True)
class Door:
    """Opens browsers on the surface, signed in or not."""

    app: FastAPI
    scene: Scene

    def stranger(self, base: str = HOST) -> Visit:
        transport = httpx2.ASGITransport(app=self.app)
        return Visit(httpx2.AsyncClient(transport=transport, base_url=base, auth=PageKey()))

    async def link(self, name: str, role: Role = "approver") -> str:
        return (await self.scene.people.invite(name, role=role, url=HOST)).partition("#")[2]

    async def signed_in(self, name: str, role: Role = "approver") -> Visit:
        visit = self.stranger()
        answer = await visit.sign_in(await self.link(name, role))
        assert answer.status_code == 200
        return visit


@pytest.fixture
async def place(scene: Scene, tmp_path: Path) -> Place:
    """What administrators change: rules, servers that listed their tools, grants."""
    return await open_place(scene, tmp_path)


@pytest.fixture
def office(place: Place) -> Door:
    """The surface on that place."""
    return Door(build(place.scene.services(**place.services())), place.scene)


@pytest.fixture
def door(app: FastAPI, scene: Scene) -> Door:
    return Door(app, scene)

"""A real Chromium before a real server, on a free port of this machine alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from approvals.model import Role
from tests.patience import PATIENCE
from tests.web.place import open_place
from tests.web.scene import Scene, open_scene
from web.app import build

expect.set_options(timeout=PATIENCE * 1000)

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Closed with its module: while it is open it holds this thread's event loop, which the other
    folders' asynchronous tests need.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"Chromium is not installed ({CHROMIUM}): no browser to test in")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Site:
    """A served surface. `stop` and `start` are what an operator's restart is."""

    scene: Scene
    port: int = 0
    more: dict[str, Any] = field(default_factory=dict)  # of the surface's `Deps`
    place: Any = None  # a `Place`, on a full site
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = build(self.scene.deps(public_url=self.url, **self.more))
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(PATIENCE)
            self._server = None

    def do(self, work: Any) -> Any:
        """Runs one of the record's asynchronous functions; the browser's loop has this thread."""
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(asyncio.run, work).result(PATIENCE)

    def link(self, name: str, role: Role = "approver") -> str:
        return str(self.do(self.scene.people.invite(name, role=role, url=self.url)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    scene = open_scene(tmp_path)
    served = Site(scene)
    served.start()
    yield served
    served.stop()
    scene.wakeup.close()
    scene.database.close_now()


@pytest.fixture
def full(site: Site, tmp_path: Path) -> Site:
    """A surface with everything on it: desk, tools, rules, and a policy.json that is written."""
    site.stop()
    site.place = site.do(open_place(site.scene, tmp_path))
    site.more = site.place.deps()
    site.start()
    return site


@dataclass
class Visitor:
    """A person at a browser; everything the browser complains about is kept."""

    site: Site
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    def page(self, path: str = "") -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(
            "window.addEventListener('securitypolicyviolation', (e) => "
            "console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI));"
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._heard(said.type, said.text))
        if path:
            page.goto(self.site.url + path)
        return page

    def _heard(self, kind: str, text: str) -> None:
        # A refused request or a server that is gone is the test's doing, not the page's.
        if kind == "error" and "Failed to load resource" not in text:
            self.complaints.append(text)

    def sign_in(self, name: str, role: Role = "approver") -> Page:
        page = self.page()
        page.goto(self.site.link(name, role))
        page.wait_for_url(self.site.url + "/")
        return page


class Visitors:
    """Opens browsers of their own for different people."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self._browser = browser
        self._site = site
        self.all: list[Visitor] = []

    def new(self, **how: Any) -> Visitor:
        visitor = Visitor(self._site, self._browser.new_context(**how))
        self.all.append(visitor)
        return visitor


@pytest.fixture
def visitors(chromium: Browser, site: Site) -> Iterator[Visitors]:
    opened = Visitors(chromium, site)
    yield opened
    for visitor in opened.all:
        with contextlib.suppress(Exception):
            visitor.context.close()
    assert [said for visitor in opened.all for said in visitor.complaints] == []

"""A real Chromium before a real server, on a free port of this machine alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from approvals.model import Role
from tests.support.admin_place import open_place
from tests.support.patience import PATIENCE
from tests.support.review_scene import Scene, open_scene
from web.app import build
from web.border import Border

expect.set_options(timeout=PATIENCE * 1000)

_SHELL = Path("/usr/bin/chromium-headless-shell")
CHROMIUM = _SHELL if _SHELL.exists() else Path("/usr/bin/chromium")
"""The same engine twice; without a window of its own a page costs a sixth of the processor."""
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--host-resolver-rules=MAP ok.example 127.0.0.1",
)
OK = "ok.example"
"""A host of its own, as far as this browser knows."""


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
    host: str = "127.0.0.1"
    certificate: Path | None = None  # of an https host; its key is in the same file
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{self.host}:{self.port}"

    def start(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = build(self.scene.services(public_url=self.url, **self.more))
        config = uvicorn.Config(
            app,
            log_level="error",
            timeout_graceful_shutdown=1,
            lifespan="off",
            ssl_certfile=self.certificate,
        )
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
    site.more = site.place.services()
    site.start()
    return site


@pytest.fixture
def secure(site: Site, tmp_path: Path) -> Site:
    """The surface at an https host of its own."""
    site.stop()
    _behind_https(site, tmp_path)
    site.start()
    return site


@pytest.fixture
def plain(site: Site) -> Site:
    """The surface at another host by plain http, as in a network of an office."""
    site.stop()
    site.host = OK
    site.more = {**site.more, "border": Border(hosts=frozenset({OK}))}
    site.start()
    return site


def _behind_https(site: Site, folder: Path) -> None:
    site.host, site.certificate = OK, certify(folder / "ok.pem")
    hosts = frozenset({"127.0.0.1", OK})
    border = Border(hosts=hosts, origins=frozenset({site.url}), https=True)
    site.more = {**site.more, "border": border}


@pytest.fixture
def secure_full(full: Site, tmp_path: Path) -> Site:
    """As `full`, at an https host of its own."""
    full.stop()
    _behind_https(full, tmp_path)
    full.start()
    return full


def certify(file: Path) -> Path:
    """A certificate of the https host, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OK)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(OK)]), critical=False)
        .sign(key, SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(plain + certificate.public_bytes(Encoding.PEM))
    return file


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
        context = self._browser.new_context(ignore_https_errors=True, **how)
        visitor = Visitor(self._site, context)
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

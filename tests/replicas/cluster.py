"""A PostgreSQL server of our own, to be stopped, killed and frozen. Not a test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support.live_gateway import free_port
from tests.support.patience import PATIENCE


class NoServer(Exception):
    """PostgreSQL's programs are not installed, or may not be run here."""


@dataclass(frozen=True)
class Cluster:
    """One server; its files are its own."""

    folder: Path
    port: int
    programs: Path
    user: str | None  # who runs it: root may not

    def fresh(self) -> str:
        """The URL of a new database."""
        name = f"signoff_{secrets.token_hex(6)}"
        plain = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(plain, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-o", options,
                  "-l", str(self.folder / "log"))  # fmt: skip

    def crash(self) -> None:
        """Stop without a checkpoint: what a power cut leaves to be recovered."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self._data))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the server stands still."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def create(self) -> None:
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-N")
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _signal(self, sig: int) -> None:
        postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):  # a connection's own process ended meanwhile
                os.kill(pid, sig)

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *args],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise NoServer(f"{program} ended with {done.returncode}")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running server for the length of the block.

    Raises:
        NoServer: there are no programs for it.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [
        Path(one).parent for one in (shutil.which("initdb"),) if one
    ]
    if not found:
        raise NoServer("not installed")
    user = None
    folder = Path(tempfile.mkdtemp(prefix="signoff-pg-"))
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            raise NoServer("root may not run it, and there is no user postgres") from None
        shutil.chown(folder, user, user)
    made = Cluster(folder, free_port(), found[-1], user)
    try:
        made.create()
        yield made
    finally:
        try:
            made.crash()
        finally:
            shutil.rmtree(folder)

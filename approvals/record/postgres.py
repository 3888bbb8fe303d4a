"""PostgreSQL connections that give up on a silent server, and what each session sets.

A server that is frozen, or a network that swallows packets, looks like a slow one for ever; here
it becomes an error within `PATIENCE`. Imported only where PostgreSQL is used. Not pure.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Final

import psycopg
from sqlalchemy import URL, Engine, event

LOCKED: Final = 4
"""Seconds to wait for the other replicas' writes before the record counts as unavailable."""

STATEMENT: Final = 5
"""Seconds a statement may take; ours take milliseconds."""

PATIENCE: Final = 6.0
"""Seconds without a word from the server after which a connection is given up."""

MIGRATING: Final = 3_600
"""As STATEMENT and PATIENCE, for revisions of the schema: an index on many rows takes its time."""

_SESSION: Final = (
    f"SET lock_timeout = '{LOCKED}s'",
    f"SET statement_timeout = '{STATEMENT}s'",
    # A replica that is frozen in the middle of a write keeps the others' lock no longer than this.
    f"SET idle_in_transaction_session_timeout = '{STATEMENT}s'",
    # "off" would acknowledge what a crash of the server may lose; stricter settings are kept.
    """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'""",
)


class Impatient(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which nothing waits longer than `patience` seconds."""

    patience: float = PATIENCE

    def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
        return super().wait(self._watched(gen), *args, **named)

    def _watched(self, gen: Any) -> Generator[Any, Any, Any]:
        """The driver's conversation, ended when nothing came for too long. The driver asks for
        readiness every 0.1 s; "none" is its way to say that there still is nothing.
        """
        until = time.monotonic() + self.patience
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until:
                    self.close()  # what it was doing is not known any more
                    raise psycopg.OperationalError("The server has been silent for too long.")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def prepare(engine: Engine, *, migrating: bool = False) -> None:
    """Make the engine's connections impatient and durable."""

    def connect(_dialect: object, _record: object, args: Any, named: Any) -> Impatient:
        connection = Impatient.connect(*args, **named)
        if migrating:
            connection.patience = MIGRATING
        return connection

    def begin_session(connection: Impatient, _record: object) -> None:
        if not migrating:
            connection.execute(";".join(_SESSION))
            connection.commit()

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", begin_session)


def connecting(url: URL) -> dict[str, Any]:
    """A dead server is noticed in seconds, unless the operator's URL says otherwise."""
    wanted = {
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "signoff",
    }
    return {name: value for name, value in wanted.items() if name not in url.query}

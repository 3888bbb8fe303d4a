"""PostgreSQL connections that give up on a silent server, and what each session sets.

A server that is frozen, or a network that swallows packets, looks like a slow one for ever; here
it becomes an error within `PATIENCE`. Imported only where PostgreSQL is used. Not pure.
"""

from __future__ import annotations

import re
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

_DEADLINES: Final = {
    "lock_timeout": LOCKED,
    "statement_timeout": STATEMENT,
    # A replica that is frozen in the middle of a write keeps the others' lock no longer than this.
    "idle_in_transaction_session_timeout": STATEMENT,
}
"""Seconds, where the URL's `options` do not name the setting."""

_OWN_STATEMENT: Final = re.compile(r"statement_timeout=([0-9]{1,6})s(?![0-9a-z])")

_DURABLE: Final = """SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'"""
"""Off would acknowledge what a crash of the server may lose; stricter settings are kept."""


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
    """Make the engine's connections impatient and durable. A deadline that the URL's `options` set
    (`-c statement_timeout=30s`) is the operator's; nothing is then silent for less than that.
    """
    options = str(engine.url.query.get("options", ""))
    own = _OWN_STATEMENT.search(options)
    patience = MIGRATING if migrating else max(PATIENCE, float(own[1]) + 1 if own else 0)
    session = ";".join(
        (
            *(f"SET {name} = '{one}s'" for name, one in _DEADLINES.items() if name not in options),
            _DURABLE,
        )
    )

    def connect(_dialect: object, _record: object, args: Any, named: Any) -> Impatient:
        connection = Impatient.connect(*args, **named)
        connection.patience = patience
        return connection

    def begin_session(connection: Impatient, _record: object) -> None:
        if not migrating:
            connection.execute(session)
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

"""Opening the record: the key file and the database, for the gateway and the command line alike."""

from __future__ import annotations

from approvals.record.clock import SystemClock
from approvals.record.database import Database
from approvals.record.keys import Keys, KeyUnusable
from gateway.settings import Settings

DATABASE = "signoff.db"
KEY = "signoff.key"


def open_record(settings: Settings) -> Database:
    """Open the key file and the database, making both on the first start.

    Raises:
        KeyUnusable: the key file is gone, is readable by others, or is none.
        RecordUnavailable: the database cannot be opened.
    """
    data = settings.data
    if settings.database_url is None and (data / DATABASE).exists() and not (data / KEY).exists():
        raise KeyUnusable(
            f"{data / KEY} is gone: put it back. A new key could neither read what the record "
            "holds nor go on with its history."
        )
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = Keys.open(data / KEY)
    return Database.open(settings.database(), key=keys, clock=SystemClock())

"""A lease in the database: one process at a time does something."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable

from sqlalchemy import Connection, Engine, update

from driftloop.registry.database import insert_new, writing
from driftloop.registry.tables import relay_lease

__all__ = ["Lease"]


class Lease:
    """``name`` says what for. If the holder dies, it ends after ``lease_s`` seconds of wall time (``now_s``)."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        lease_s: float,
        *,
        now_s: Callable[[], float] = time.time,
        owner: str | None = None,
    ) -> None:
        self._engine = engine
        self._name = name
        self._lease_ms = round(lease_s * 1000)
        self._now_s = now_s
        self._owner = owner or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def take(self) -> bool:
        """Take or renew it. False if another one has it."""
        now_ms = round(self._now_s() * 1000)
        until_ms = now_ms + self._lease_ms
        with writing(self._engine) as connection:
            values = {"name": self._name, "owner": self._owner, "until_wall_ms": until_ms}
            if insert_new(connection, relay_lease, values):
                return True
            free = (relay_lease.c.owner == self._owner) | (relay_lease.c.until_wall_ms <= now_ms)
            statement = update(relay_lease).where(relay_lease.c.name == self._name, free)
            return connection.execute(statement.values(owner=self._owner, until_wall_ms=until_ms)).rowcount == 1

    def renew(self, connection: Connection) -> bool:
        """In the caller's transaction. False if it is another one's by now."""
        until_ms = round(self._now_s() * 1000) + self._lease_ms
        mine = (relay_lease.c.name == self._name) & (relay_lease.c.owner == self._owner)
        return connection.execute(update(relay_lease).where(mine).values(until_wall_ms=until_ms)).rowcount == 1

    def give_back(self) -> None:
        """Let another one have it at once."""
        mine = (relay_lease.c.name == self._name) & (relay_lease.c.owner == self._owner)
        with writing(self._engine) as connection:
            connection.execute(update(relay_lease).where(mine).values(until_wall_ms=0))

"""PostgreSQL that does not answer: partitioned, paused or stuck in a lock. Nobody waits for it without a limit.

Three limits, since each sees what the others don't. TCP's own (:data:`_TCP`) end a connection whose other machine is
gone. ``statement_timeout`` lets a server that is well refuse what takes too long, such as waiting for a lock. And a
server process that is stopped keeps its connections open and runs no timer: then the client ends the connection when
it has heard nothing for longer than a server that is well can be silent (:class:`PatientConnection`).

Where the database URL or libpq's environment (``PGOPTIONS``, ``PGCONNECT_TIMEOUT``) sets one of them, that holds; the
last one follows ``statement_timeout``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, event, text

__all__ = ["PatientConnection", "patient", "unhurried"]

Result = TypeVar("Result")

#: For every address that the host's name has.
_CONNECT_S = 5
_STATEMENT_S = 30
#: A server that is well has said that a statement took too long so much later at the latest.
_MARGIN_S = 10.0
#: Parameters of libpq: data without acknowledgement (milliseconds), and an idle connection whose other side is gone.
_TCP = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
#: The same on the server's side: a client whose machine is gone must not keep its locks for hours.
_OF_SESSION = {
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
}


class PatientConnection(psycopg.Connection[Any]):
    """A connection that ends itself when the server says nothing for ``silence_s`` seconds."""

    silence_s: float = _STATEMENT_S + _MARGIN_S

    def wait(self, gen: PQGen[Result], *arguments: Any, **more: Any) -> Result:
        """Every word to the server and back goes through this method of psycopg's. Raises ``OperationalError``, which
        SQLAlchemy takes for a connection that was lost."""
        return super().wait(self._listening(gen, self.silence_s), *arguments, **more)

    def _listening(self, gen: PQGen[Result], limit_s: float) -> PQGen[Result]:
        heard_s = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                # Ten times a second psycopg sends 0: the socket is not ready.
                ready = yield wanted
                now_s = time.monotonic()
                if ready:
                    heard_s = now_s
                elif now_s - heard_s > limit_s:
                    # What the statement did, if it ever reached the server, is not known: as with any lost connection.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has said nothing for {limit_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result


def patient(engine: Engine) -> Engine:
    """The engine, whose connections have the limits of this module."""

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: list[Any], parameters: dict[str, Any]) -> PatientConnection:
        wanted: dict[str, Any] = {**_TCP, **parameters}
        if "PGCONNECT_TIMEOUT" not in os.environ:
            wanted.setdefault("connect_timeout", _CONNECT_S)
        ours = {"statement_timeout": f"{_STATEMENT_S}s", **_OF_SESSION}
        # Of a setting that is there twice the later one holds.
        given = parameters.get("options", os.environ.get("PGOPTIONS", ""))
        wanted["options"] = " ".join([*(f"-c {name}={value}" for name, value in ours.items()), str(given)]).strip()
        connection = PatientConnection.connect(*arguments, **wanted)
        connection.silence_s = _longest_silence_s(connection)
        return connection

    return engine


def _longest_silence_s(connection: PatientConnection) -> float:
    connection.autocommit = True
    row = connection.execute("SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'").fetchone()
    connection.autocommit = False
    assert row is not None, "every PostgreSQL has this setting"
    # Zero is none.
    return row[0] / 1000 + _MARGIN_S if row[0] else math.inf


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """In the present transaction a statement takes as long as it takes, as changing large tables does."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    own = connection.connection.dbapi_connection
    assert isinstance(own, PatientConnection), "engines of driftloop connect by patient()"
    silence_s, own.silence_s = own.silence_s, math.inf
    try:
        yield
    finally:
        own.silence_s = silence_s

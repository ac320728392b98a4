"""Logs: one JSON object a line for machines, or coloured lines for people, for our loggers and everybody else's.

Keys: ``ts`` (UTC, ISO 8601), ``level``, ``logger``, ``event``, then what the caller gives: ``model``, ``version``,
``topic``, ``partition``, ``offset``... Payloads do not belong in logs; passwords are masked wherever they turn up.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logs", "get_logger", "mask_secrets"]

_SECRET_KEY = re.compile(r"password|secret|token|credential|api_key", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")
_MASK = "***"


def mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask values whose key says that they are secret, and passwords in URLs, also inside texts and tracebacks.

    >>> mask_secrets(None, "info", {"event": "open", "url": "postgresql://me:pw@db/driftloop", "sasl_password": "x"})
    {'event': 'open', 'url': 'postgresql://me:***@db/driftloop', 'sasl_password': '***'}
    """
    for key, value in event.items():
        event[key] = _MASK if _SECRET_KEY.search(key) else _masked(value, ())
    return event


def _masked(value: Any, secrets: Iterable[str]) -> Any:
    """The value without secrets, also inside of lists, mappings and errors."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _MASK)
        return _URL_PASSWORD.sub(rf"\1:{_MASK}@", value)
    if isinstance(value, Mapping):
        return {
            key: _MASK if isinstance(key, str) and _SECRET_KEY.search(key) else _masked(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item, secrets) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _masked(str(value), secrets)


def _mask_these(secrets: Iterable[str]) -> Processor:
    """Mask the texts wherever they turn up. Ones of less than four characters would take the meaning out of every
    line."""
    known = tuple(sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True))

    def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {key: _masked(value, known) for key, value in event.items()}

    return mask


def configure_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send all logs of the process, structlog's and the standard library's, to ``stream`` (default: stderr).

    ``secrets``: texts that are masked wherever they turn up (:meth:`driftloop.settings.Settings.secrets`).

    Calling it again replaces the earlier set-up, so a worker can call it once more after a library has changed it.
    """
    stream = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor]
    if form == "json":
        last = [_order_keys, structlog.processors.JSONRenderer()]
    else:
        colors = bool(getattr(stream, "isatty", lambda: False)())
        # Not the pretty traceback: it prints local variables, and passwords are among them.
        last = [
            structlog.dev.ConsoleRenderer(
                colors=colors, timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback
            )
        ]
    last = [structlog.processors.format_exc_info, _mask_these(secrets), mask_secrets, *last]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These say at INFO what they do for every request or poll.
    for noisy in ("aiokafka", "kafka", "sqlalchemy.engine", "asyncio", "faust", "mode"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("alembic.runtime.migration").addFilter(_no_glance)
    own = [processor for processor in shared if not isinstance(processor, structlog.stdlib.ExtraAdder)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *own,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A cached logger would keep an earlier stream and level after a second call.
        cache_logger_on_first_use=False,
    )


def _no_glance(record: logging.LogRecord) -> bool:
    """Every look at the tables' revision, as every readiness probe takes one, says these two; upgrades stay."""
    return not record.getMessage().startswith(("Context impl", "Will assume"))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes keys: ``log.info("window closed", model="flights-late", rows=812)``."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(name))


def _order_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first: dict[str, Any] = {key: event[key] for key in ("ts", "level", "logger", "event") if key in event}
    return {**first, **{key: value for key, value in event.items() if key not in first}}

"""Handing one command over, to each kind of orchestrator.

Airflow: the stable REST API of Airflow 3, ``POST /api/v2/dags/{dag_id}/dagRuns`` with the command's id as
``dag_run_id``; 409 says that this run exists, so it was handed over before. A token comes from the credentials or from
``POST /auth/token``. Argo: an Argo Events webhook (its ``authSecret``) or the Argo Server's
``/api/v1/events/{namespace}/{discriminator}``, both with a bearer token. Webhook: Standard Webhooks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from driftloop.training.handover.credentials import Credentials
from driftloop.training.handover.messages import Request
from driftloop.training.handover.signature import signed_headers
from driftloop.training.handover.transport import Reply, Unreachable, post, scrubbed

__all__ = ["Confirmed", "NotNow", "Post", "Refused", "hand_over"]

#: Answers that may be another in a while, beside 5xx.
_PASSING = {408, 425, 429}

Post = Callable[[str, bytes, Mapping[str, str]], Reply]


@dataclass(frozen=True)
class Confirmed:
    """The orchestrator has it."""

    said: str


@dataclass(frozen=True)
class NotNow:
    """It may work later, not before ``after_s``."""

    reason: str
    after_s: float = 0.0


@dataclass(frozen=True)
class Refused:
    """It would fail again."""

    reason: str


def hand_over(
    request: Request, command_id: str, body: bytes, credentials: Credentials, now: float, send: Post = post
) -> Confirmed | NotNow | Refused:
    """Hand a command over; again with the same id does no harm. ``now``: wall time in seconds since 1970."""
    missing = credentials.missing_for(request.to)
    if missing is not None:
        return Refused(missing)
    try:
        if request.to == "airflow":
            return _airflow(request, command_id, body, credentials, send)
        headers: dict[str, str] = {}
        if credentials.key is not None:
            headers |= signed_headers(credentials.key, command_id, int(now), body)
        if credentials.token is not None:
            headers["Authorization"] = f"Bearer {credentials.token}"
        return _verdict(send(request.url, body, headers), "it", credentials.secrets())
    except Unreachable as error:
        return NotNow(scrubbed(str(error), credentials.secrets()))


def _airflow(
    request: Request, command_id: str, body: bytes, credentials: Credentials, send: Post
) -> Confirmed | NotNow | Refused:
    base, secrets = request.url.rstrip("/"), credentials.secrets()
    token = credentials.token
    if token is None:
        asked = json.dumps({"username": credentials.username, "password": credentials.password}).encode()
        reply = send(f"{base}/auth/token", asked, {})
        verdict = _verdict(reply, "/auth/token", secrets)
        if not isinstance(verdict, Confirmed) or reply.status == 409:
            return verdict if not isinstance(verdict, Confirmed) else Refused("/auth/token answered 409")
        token = _access_token(reply.body)
        if token is None:
            return Refused("/auth/token answered without an access_token")
        secrets = [*secrets, token]
    run = {"dag_run_id": command_id, "logical_date": None, "conf": json.loads(body)}
    url = f"{base}/api/v2/dags/{quote(str(request.dag_id), safe='')}/dagRuns"
    reply = send(url, json.dumps(run).encode(), {"Authorization": f"Bearer {token}"})
    return _verdict(reply, f"DAG {request.dag_id}", secrets)


def _access_token(body: bytes) -> str | None:
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = content.get("access_token") if isinstance(content, dict) else None
    return token if isinstance(token, str) and token and token.isascii() and token.isprintable() else None


def _verdict(reply: Reply, what: str, secrets: list[str]) -> Confirmed | NotNow | Refused:
    if 200 <= reply.status < 300:
        return Confirmed("")
    if reply.status == 409:
        return Confirmed("it had it already")
    said = scrubbed(reply.text, secrets)
    told = f"{what} answered {reply.status}{f': {said}' if said else ''}"
    if 300 <= reply.status < 400:
        return Refused(f"{what} answered {reply.status}, a redirect, which is not followed; give the final URL")
    if reply.status >= 500 or reply.status in _PASSING:
        return NotNow(told, reply.retry_after_s or 0.0)
    return Refused(told)

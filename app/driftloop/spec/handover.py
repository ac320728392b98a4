"""``training.handover``: the training is done elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration
from driftloop.spec.problems import KeyPath

if TYPE_CHECKING:
    from driftloop.spec.model import ModelSpec

__all__ = ["HandoverSpec", "handover_problems"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class HandoverSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who trains instead of driftloop. ``to`` airflow: ``url`` is that of Airflow's API server, and ``dag_id`` is run;
    argo: ``url`` is that of an Argo Events webhook or of the Argo Server's events; webhook: any ``url``, signed.
    ``parameters`` go along as they are. ``timeout``: so long after it was handed over a run without a result fails;
    ``retry_for``: so long an orchestrator that does not answer is tried again. ``credentials`` names those of several
    that are kept in the settings; null: the deployment's own."""

    to: Literal["airflow", "argo", "webhook"]
    url: str
    dag_id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    timeout: Duration = "6h"
    retry_for: Duration = "1h"
    credentials: str | None = None

    @property
    def timeout_ms(self) -> int:
        return parse_duration_ms(self.timeout)

    @property
    def retry_for_ms(self) -> int:
        return parse_duration_ms(self.retry_for)


def handover_problems(spec: ModelSpec) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with ``training.handover``, each with its key."""
    handover = spec.training.handover
    if handover is None:
        return
    path: KeyPath = ("training", "handover")
    if spec.task == "ranking":
        yield path, "ranking models are watched but not trained here, nor elsewhere; leave the key out"
    for name, given in (
        ("candidates", bool(spec.training.candidates)),
        ("search", spec.training.search is not None),
        ("river", spec.training.river is not None),
    ):
        if given:
            yield (
                ("training", name),
                f"with training.handover the training is another's, who is given the rows before the holdout; leave "
                f"{name!r} out, or tell them in training.handover.parameters",
            )
    yield from _url(path, handover)
    if handover.to == "airflow" and not handover.dag_id:
        yield (*path, "dag_id"), "to: airflow needs the DAG that is run, such as dag_id: train_flights"
    if handover.to != "airflow" and handover.dag_id is not None:
        yield (*path, "dag_id"), f"only to: airflow has a dag_id, and to is {handover.to!r}; leave the key out"
    for key in ("timeout", "retry_for"):
        text = getattr(handover, key)
        try:
            if parse_duration_ms(text) <= 0:
                yield (*path, key), f"expected a duration longer than nothing, got {text!r}"
        except ValueError as error:
            yield (*path, key), str(error)
    if handover.credentials is not None and not _NAME.fullmatch(handover.credentials):
        yield (
            (*path, "credentials"),
            f"expected a name of letters, digits, '-' and '_', such as 'risk', got {handover.credentials!r}; the "
            "secrets themselves are in files",
        )


def _url(path: KeyPath, handover: HandoverSpec) -> Iterator[tuple[KeyPath, str]]:
    where: KeyPath = (*path, "url")
    try:
        parts = urlsplit(handover.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        yield where, "this is no URL"
        return
    # A URL that is refused is not repeated: it may hold a password.
    if parts.scheme not in ("http", "https") or not host or port == 0:
        yield where, "expected a URL that begins with https:// or http:// and names a host"
    elif re.search(r"[\x00-\x20\x7f]", handover.url):
        yield where, "a URL has no spaces or control characters"
    elif "@" in parts.netloc:
        yield where, "no user or password belongs into a URL; they are settings (DRIFTLOOP_HANDOVER_...)"
    elif handover.to == "airflow" and (parts.query or parts.fragment):
        yield where, "expected the base URL of Airflow's API server, without anything after '?' or '#'"

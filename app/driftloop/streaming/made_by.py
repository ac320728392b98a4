"""Where a report comes from: what a later replay must have the same of to be equal to the last bit."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import msgspec

from driftloop.events.reports import WindowReport
from driftloop.kafka.admin import BrokerError, log_ids
from driftloop.kafka.config import client_config
from driftloop.monitoring.intake import Limits
from driftloop.settings import Settings

__all__ = ["Origin", "limits_of", "made_by", "origin_of", "stamped"]

log = logging.getLogger(__name__)

#: Whatever computes a number or words a sentence in a report.
_PACKAGES = ("driftloop", "numpy", "scipy", "scikit-learn")
_BROKER_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Origin:
    """Software, partitions, the settings that decide which rows count by their names, and the ids of the logs (empty:
    the broker does not tell). Nothing of it is a report's content."""

    made_by: str
    source_partitions: int
    limits: Mapping[str, int] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)


def limits_of(settings: Settings) -> Limits:
    """Bounds on what counts, as a process has them in its settings, under the same names."""
    return Limits(settings.max_message_bytes, settings.max_clock_ahead_ms, settings.oldest_event_ms)


def origin_of(settings: Settings) -> Origin:
    """The origin of whatever this process makes. Asks the broker."""
    topics = settings.topics
    try:
        ids = log_ids(client_config(settings), (topics.predictions, topics.labels), _BROKER_PATIENCE_S)
    except BrokerError as error:
        log.warning("the ids of the source topics are not known: %s", error)
        ids = ()  # no reason to judge nothing
    return Origin(
        made_by(),
        settings.source_partitions,
        dataclasses.asdict(limits_of(settings)),
        dict(zip(("cluster", "predictions", "labels"), ids, strict=False)),
    )


@cache
def made_by() -> str:
    """Versions of what computes reports, and the processor's kind, in a line.

    >>> made_by().split()[0]
    'driftloop'
    """
    named = [f"{name} {_version(name)}" for name in _PACKAGES]
    return ", ".join([*named, f"Python {'.'.join(platform.python_version_tuple()[:2])}", platform.machine()])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def stamped(report: WindowReport, origin: Origin) -> WindowReport:
    """The report with its origin, which is not part of its content."""
    return msgspec.structs.replace(
        report,
        made_by=origin.made_by,
        source_partitions=origin.source_partitions,
        limits=dict(origin.limits),
        logs=dict(origin.logs),
    )

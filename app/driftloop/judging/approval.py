"""Alerts on predictions of versions that the registry never approved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.judging.alerts import UNAPPROVED, AlertBook, forget_lane, step
from driftloop.judging.signals import Signal
from driftloop.spec.model import AlertRules
from driftloop.windows.assembly import WindowKey

__all__ = ["NOT_REGISTERED", "Approved", "alert_unapproved", "always_approved"]

#: ``approved(model_id, model_version, at_ms)``: whether the version may serve at that event time.
Approved = Callable[[str, str, int], bool]


NOBODY: Final[Mapping[str, int]] = MappingProxyType({})
#: Of more versions that nobody registered, those with most predictions have an alert.
MOST_UNREGISTERED: Final = 20
#: Method of an alert on predictions of a version that the registry does not hold; of others it is ``approval``.
NOT_REGISTERED: Final = "registration"


def always_approved(model_id: str, model_version: str, at_ms: int) -> bool:
    """For whoever knows no registry."""
    return True


def alert_unapproved(
    book: AlertBook,
    key: WindowKey,
    reports: Iterable[WindowReport],
    rules: AlertRules,
    approved: Approved,
    unregistered: Mapping[str, int] = NOBODY,
) -> tuple[AlertBook, list[Alert]]:
    """Take in which versions have predictions in a final input window. Returns the next book and the events.

    An alert for each version that may not serve at the window's end opens with its first window, whatever
    ``open_after`` says, since no chance is involved; ``resolve_after`` windows without a prediction of it, or at whose
    end it is approved, resolve it. ``unregistered``: predictions of versions that are not in the registry, by version;
    they are not counted in any report.
    """
    unregistered = dict(sorted(unregistered.items(), key=lambda item: (-item[1], item[0]))[:MOST_UNREGISTERED])
    whole = {report.model_version: report for report in reports if not report.segment and not report.sliding}
    open_now = {entry.model_version for entry in book.entries.values() if entry.kind == UNAPPROVED}
    alerts: list[Alert] = []
    for version in sorted(whole.keys() | open_now | unregistered.keys()):
        report = whole.get(version)
        strays = unregistered.get(version, 0)
        rows = strays + (0 if report is None else report.rows)
        bad = rows > 0 and (strays > 0 or not approved(key.model_id, version, key.end_ms))
        if not bad and version not in open_now:
            continue
        signal = Signal(
            kind=UNAPPROVED,
            subject="version",
            segment="",
            bad=bad,
            severity="critical",
            statistic=float(rows),
            threshold=1.0,
            method=NOT_REGISTERED if strays else "approval" if bad else "",  # a resolution keeps its alert's
            message=_message(version, rows, strays, bad),
        )
        book, events = step(
            book,
            [signal],
            AlertRules(resolve_after=rules.resolve_after),
            model_id=key.model_id,
            model_version=version,
            window_start_ms=key.start_ms,
            window_end_ms=key.end_ms,
            report_id="" if report is None else report.report_id,
        )
        alerts += events
    return forget_lane(book, UNAPPROVED), alerts


def _message(version: str, rows: int, strays: int, bad: bool) -> str:
    if strays:
        return f"{strays:,} predictions of version {version}, which the registry does not hold; they are dead letters"
    if bad:
        return (
            f"{rows:,} predictions of version {version}, which the registry never approved: by the end of this "
            "window it was neither champion nor an arm of a canary"
        )
    return f"no prediction of version {version}" if not rows else f"version {version} is approved"

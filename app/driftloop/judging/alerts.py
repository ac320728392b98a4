"""The life of an alert: opened by bad windows, still firing in later ones, resolved by good ones.

A pure state machine: the book of alerts and a window's signals in, the next book and the alert events out. Time is that
of the windows, and every id is a hash, so a replay gives the very same events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct, field

from driftloop.events.messages import Alert, AlertState, WindowKind
from driftloop.judging.signals import AlertKind, Severity, Signal
from driftloop.spec.model import AlertRules

__all__ = ["AlertBook", "AlertEntry", "retire_versions", "step", "window_kind_of"]

#: The lanes that windows of each kind speak about: an alert kind, or ``estimated`` for performance that input windows
#: estimate ahead of the outcome windows, each with an order of its own.
_KINDS: dict[WindowKind, tuple[str, ...]] = {
    "input": ("drift", "data_quality", "estimated"),
    "outcome": ("performance", "concept_drift", "labels"),
}


class AlertEntry(Struct, frozen=True, kw_only=True):
    """One subject that is in alert, or was bad lately. ``history`` has its last windows that could be judged, oldest
    first, True for bad; ``good_streak`` counts the good ones since the last bad one while the alert is open."""

    model_id: str
    model_version: str
    kind: AlertKind
    subject: str
    segment: str
    history: tuple[bool, ...] = ()
    is_open: bool = False
    alert_id: str = ""
    opened_at_ms: int = 0
    good_streak: int = 0
    severity: Severity = "warning"
    threshold: float | None = None
    method: str = ""
    sliding: str = ""


class AlertBook(Struct, frozen=True):
    """The state of a model's alerts. Subjects without a recent bad window are not kept.

    ``judged_until_ms`` is the end of the last window for each version, kind and segment: each window counts once.
    """

    entries: dict[str, AlertEntry] = field(default_factory=dict)
    judged_until_ms: dict[str, int] = field(default_factory=dict)

    def open_alerts(self) -> list[AlertEntry]:
        """The entries in alert, in the order of their keys."""
        return [entry for _, entry in sorted(self.entries.items()) if entry.is_open]


def step(
    book: AlertBook,
    signals: Iterable[Signal],
    rules: AlertRules,
    *,
    model_id: str,
    model_version: str,
    window_start_ms: int,
    window_end_ms: int,
    report_id: str,
) -> tuple[AlertBook, list[Alert]]:
    """Take in the signals of one final window; windows of one version, kind and segment must come in order of time.

    An alert opens once ``open_after`` of the last ``open_within`` judged windows were bad (of the last ``open_after``
    if that is more), fires again with every further bad window, and ``resolve_after`` good ones in a row resolve it.
    Signals of a window that was taken in before are ignored. Returns the next book and the events, in the order of the
    signals; the book handed in stays as it was.
    """
    entries = dict(book.entries)
    judged_until_ms = dict(book.judged_until_ms)
    alerts: list[Alert] = []
    for signal in signals:
        lane = _key(model_version, _lane(signal), signal.segment, *_of_sliding(signal))
        if window_end_ms <= book.judged_until_ms.get(lane, window_end_ms - 1):
            continue
        judged_until_ms[lane] = window_end_ms
        if signal.bad is None:
            continue
        key = _key(model_version, signal.kind, signal.segment, signal.subject, *_of_sliding(signal))
        entry = entries.get(key) or AlertEntry(
            model_id=model_id,
            model_version=model_version,
            kind=signal.kind,
            subject=signal.subject,
            segment=signal.segment,
            sliding=signal.sliding,
        )
        at_once = signal.kind == "concept_drift"
        entry, state = _next(
            entry, signal, AlertRules(resolve_after=rules.resolve_after) if at_once else rules, window_end_ms
        )
        if entry.is_open or any(entry.history):
            entries[key] = entry
        else:
            entries.pop(key, None)
        if state is not None:
            alerts.append(_alert(entry, state, signal, window_start_ms, window_end_ms, report_id))
    return AlertBook(entries, judged_until_ms), alerts


def _next(
    entry: AlertEntry, signal: Signal, rules: AlertRules, window_end_ms: int
) -> tuple[AlertEntry, AlertState | None]:
    bad = bool(signal.bad)
    if entry.is_open:
        good_streak = 0 if bad else entry.good_streak + 1
        if good_streak < rules.resolve_after:
            changed = msgspec.structs.replace(entry, good_streak=good_streak)
            return (_evidence(changed, signal), "firing") if bad else (changed, None)
        # The next alert needs bad windows of its own: those before the resolution don't count for it.
        return msgspec.structs.replace(entry, is_open=False, good_streak=0, history=()), "resolved"
    history = (*entry.history, bad)[-max(rules.open_within, rules.open_after) :]
    entry = msgspec.structs.replace(entry, history=history)
    if not bad or sum(history) < rules.open_after:
        return entry, None
    alert_id = _digest(
        entry.model_id,
        entry.model_version,
        entry.kind,
        entry.subject,
        entry.segment,
        str(window_end_ms),
        *_of_sliding(entry),
    )
    opened = msgspec.structs.replace(
        entry, is_open=True, history=(), good_streak=0, alert_id=alert_id, opened_at_ms=window_end_ms
    )
    return _evidence(opened, signal), "opened"


def _evidence(entry: AlertEntry, signal: Signal) -> AlertEntry:
    return msgspec.structs.replace(entry, severity=signal.severity, threshold=signal.threshold, method=signal.method)


def _alert(
    entry: AlertEntry, state: AlertState, signal: Signal, window_start_ms: int, window_end_ms: int, report_id: str
) -> Alert:
    return Alert(
        alert_id=entry.alert_id,
        event_id=_digest(entry.alert_id, state, str(window_end_ms)),
        model_id=entry.model_id,
        model_version=entry.model_version,
        kind=entry.kind,
        subject=entry.subject,
        segment=entry.segment,
        state=state,
        # A good window has no severity of its own; the resolution keeps that of the alert it ends.
        severity=entry.severity,
        window_start_ms=window_start_ms,
        window_end_ms=window_end_ms,
        opened_at_ms=entry.opened_at_ms,
        report_id=report_id,
        statistic=signal.statistic,
        threshold=entry.threshold if signal.threshold is None else signal.threshold,
        message=signal.message,
        method=signal.method or entry.method,
        sliding=entry.sliding,
    )


def retire_versions(
    book: AlertBook, kind: WindowKind, *, serving: str, window_start_ms: int, window_end_ms: int
) -> tuple[AlertBook, list[Alert]]:
    """Resolve the alerts of every version but the serving one, which nobody would resolve otherwise, and forget them.

    Only alerts that windows of this kind speak about: labels of an earlier version still come in for a while after it
    was replaced. Returns the next book and the events.
    """
    kinds = _KINDS[kind]
    kept: dict[str, AlertEntry] = {}
    alerts: list[Alert] = []
    for key, entry in sorted(book.entries.items()):
        if entry.model_version == serving or _lane(entry) not in kinds:
            kept[key] = entry
        elif entry.is_open:
            gone = Signal(
                kind=entry.kind,
                subject=entry.subject,
                segment=entry.segment,
                bad=False,
                severity=entry.severity,
                statistic=None,
                threshold=entry.threshold,
                method=entry.method,
                sliding=entry.sliding,
                message=f"resolved because version {serving} serves now in place of {entry.model_version}",
            )
            alerts.append(_alert(entry, "resolved", gone, window_start_ms, window_end_ms, ""))
    lanes = {
        lane: until_ms
        for lane, until_ms in book.judged_until_ms.items()
        if (parts := msgspec.json.decode(lane, type=list[str]))[0] == serving or parts[1] not in kinds
    }
    return AlertBook(kept, lanes), alerts


def window_kind_of(alert: Alert) -> WindowKind:
    """The kind of windows that speak about the alert's subject: estimates of performance are those of input windows."""
    return "input" if _lane(alert) in _KINDS["input"] else "outcome"


def _lane(of: Signal | AlertEntry | Alert) -> str:
    if of.kind == "data_quality" and of.subject.startswith("@labels/"):
        return "labels"
    return "estimated" if of.kind == "performance" and "~estimated" in of.subject else of.kind


def _of_sliding(given: Signal | AlertEntry) -> tuple[str, ...]:
    """Sliding windows have lanes of their own; those of other windows keep the names that they had before."""
    return (f"sliding {given.sliding}",) if given.sliding else ()


def _key(*parts: str) -> str:
    return msgspec.json.encode(parts).decode()


def _digest(*parts: str) -> str:
    return hashlib.sha256(_key(*parts).encode()).hexdigest()[:32]

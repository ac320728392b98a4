"""The life of an alert: opened by bad windows, still firing in later ones, resolved by good ones.

A pure state machine: the book of alerts and a window's signals in, the next book and the alert events out. Time is that
of the windows, and every id is a hash, so a replay gives the very same events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct, field

from driftloop.events.messages import Alert, AlertState, FeatureReport, MetricReport, WindowKind, WindowReport
from driftloop.quality.judge import UNLISTED_WHEN_FINE
from driftloop.spec.model import AlertRules, DriftRules

__all__ = ["AlertBook", "AlertEntry", "Signal", "retire_versions", "signals_from_report", "step"]

AlertKind = Literal["drift", "performance", "data_quality"]
Severity = Literal["warning", "critical"]

#: The alert kinds that windows of each kind speak about.
_KINDS: dict[WindowKind, tuple[AlertKind, ...]] = {"input": ("drift", "data_quality"), "outcome": ("performance",)}

#: The subject of the alert on the share of drifting features.
SHARE_SUBJECT = "features"


class Signal(Struct, frozen=True, kw_only=True):
    """What one window says about one subject. ``bad`` None: too few rows to say, which changes nothing."""

    kind: AlertKind
    subject: str
    segment: str
    bad: bool | None
    severity: Severity
    statistic: float | None
    threshold: float | None
    method: str
    message: str
    sliding: str = ""


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
        lane = _key(model_version, signal.kind, signal.segment, *_of_sliding(signal))
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
        entry, state = _next(entry, signal, rules, window_end_ms)
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
        if entry.model_version == serving or entry.kind not in kinds:
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


def signals_from_report(report: WindowReport, rules: DriftRules | None = None) -> list[Signal]:
    """What a report says to the alerts. ``rules`` are those of the spec by which it was judged; None: the defaults.

    An input window gives, for each feature, a ``drift`` signal and one of ``data_quality`` for ``<feature>/missing``
    and for ``<feature>/unseen``, and one more ``drift`` signal for the share of drifting features (``features``).
    Each data-quality check gives a ``data_quality`` signal; one that a report lists only where there is something to
    say gives a good one for every feature that could be judged.
    An outcome window gives a ``performance`` signal for each rule. Coverage gives none. What is bad, and how much, is
    read off the report; nothing is decided here a second time.
    """
    signals = _signals(report, rules or DriftRules())
    if report.sliding:
        return [msgspec.structs.replace(signal, sliding=report.sliding) for signal in signals]
    return signals


def _signals(report: WindowReport, judged_by: DriftRules) -> list[Signal]:
    if report.kind == "outcome":
        return [_of_metric(metric, report.segment) for metric in report.metrics if metric.decision != "info"]
    signals: list[Signal] = []
    for feature in report.features:
        signals.append(_of_distribution(feature, report.segment))
        signals.extend(_of_rates(feature, report.segment))
    if report.features:
        share = report.drifted_features / report.judged_features if report.judged_features else None
        signals.append(
            Signal(
                kind="drift",
                subject=SHARE_SUBJECT,
                segment=report.segment,
                bad=None if share is None else report.decision == "drift",
                severity="critical",
                statistic=share,
                threshold=judged_by.share_of_features,
                method="share",
                message=f"{report.drifted_features} of {report.judged_features} features drift",
            )
        )
    signals.extend(_of_quality(report))
    return signals


def _of_quality(report: WindowReport) -> Iterable[Signal]:
    listed = {check.subject for check in report.quality}
    for check in report.quality:
        yield Signal(
            kind="data_quality",
            subject=check.subject,
            segment=report.segment,
            bad=None if check.decision == "insufficient" else check.decision == "broken",
            severity="critical" if check.check == "volume" and not check.rows else "warning",
            statistic=check.statistic,
            threshold=check.threshold,
            method=check.check,
            message=check.sentence,
        )
    if report.segment:
        return
    for feature in report.features:
        if feature.decision == "insufficient":
            continue
        for name in UNLISTED_WHEN_FINE:
            subject = f"{feature.feature}/{name}"
            if subject not in listed:
                yield Signal(
                    kind="data_quality",
                    subject=subject,
                    segment=report.segment,
                    bad=False,
                    severity="warning",
                    statistic=0.0,
                    threshold=None,
                    method=name,
                    message=f"{feature.feature}: nothing found by the check {name!r}",
                )


def _of_metric(metric: MetricReport, segment: str) -> Signal:
    return Signal(
        kind="performance",
        subject=metric.metric,
        segment=segment,
        bad=None if metric.decision == "insufficient" else metric.decision == "drift",
        severity=metric.severity or "critical",
        statistic=metric.value,
        threshold=metric.threshold,
        method=metric.metric.split("@")[0].split("#")[0],
        message=metric.sentence,
    )


_RATES = ("missing", "unseen")


def _of_distribution(feature: FeatureReport, segment: str) -> Signal:
    distances = [result for result in feature.results if result.method not in _RATES]
    decided = [result for result in distances if result.severity is not None]
    critical = [result for result in decided if result.severity == "critical"]
    first = next(iter([*critical, *decided, *(result for result in distances if result.threshold is not None)]), None)
    return Signal(
        kind="drift",
        subject=feature.feature,
        segment=segment,
        bad=None if feature.adjusted_p_value is None else bool(decided),
        severity="critical" if critical else "warning",
        statistic=None if first is None else first.statistic,
        threshold=None if first is None else first.threshold,
        method="" if first is None else first.method,
        message=feature.sentence,
    )


def _of_rates(feature: FeatureReport, segment: str) -> Iterable[Signal]:
    for result in feature.results:
        if result.method in _RATES:
            yield Signal(
                kind="data_quality",
                subject=f"{feature.feature}/{result.method}",
                segment=segment,
                bad=result.severity is not None,
                severity=result.severity or "warning",
                statistic=result.statistic,
                threshold=result.threshold,
                method=result.method,
                message=feature.sentence,
            )


def _of_sliding(given: Signal | AlertEntry) -> tuple[str, ...]:
    """Sliding windows have lanes of their own; those of other windows keep the names that they had before."""
    return (f"sliding {given.sliding}",) if given.sliding else ()


def _key(*parts: str) -> str:
    return msgspec.json.encode(parts).decode()


def _digest(*parts: str) -> str:
    return hashlib.sha256(_key(*parts).encode()).hexdigest()[:32]

"""What registry and assessments know of a prediction's version and of the time at which it was made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct, field

from driftloop.events.decisions import GateResult
from driftloop.events.messages import Alert
from driftloop.events.reports import MetricReport, WindowReport
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.assessments import AssessmentStore
from driftloop.registry.errors import RegistryError
from driftloop.registry.rows import CHAMPION, HistoryRow, VersionRow

__all__ = ["Change", "Model", "VersionAccount", "WindowAccount", "alerts_then", "version_account", "windows_of"]

#: So many of a model's last changes of alerts are looked through.
_ALERT_EVENTS = 50_000


class Change(Struct, frozen=True, kw_only=True):
    """A row of the registry's history about the version."""

    action: str
    event_time_ms: int
    actor: str
    reason: str
    row_sha256: str


class VersionAccount(Struct, frozen=True, kw_only=True):
    """A version: how it came to be and to be live. ``dataset``: what its lineage says of its data set;
    ``rows_from_ms`` and ``rows_to_ms``: event times of the rows that the model file was fitted on, the end
    exclusive."""

    status: str
    aliases: list[str]
    history: list[Change]
    estimator: str | None
    parameters: Any
    seed: int | None
    train_rows: int | None
    holdout_rows: int | None
    rows_from_ms: int | None
    rows_to_ms: int | None
    dataset: dict[str, Any]
    validation: str | None
    model_digest: str | None
    model_file: str | None
    code_commit: str
    environment: dict[str, str]
    lock_sha256: str | None
    compared_with: str | None
    metrics: dict[str, float] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    dataset_kept: bool = False


class WindowAccount(Struct, frozen=True, kw_only=True):
    """What a window that holds the prediction said. ``problems``: sentences of features, multivariate methods, quality
    checks and concept detectors that were not in order."""

    report_id: str
    kind: str
    segment: str
    status: str
    decision: str
    sentence: str
    rows: int
    labeled_rows: int
    window_start_ms: int
    window_end_ms: int
    drifted: list[str]
    problems: list[str]
    metrics: list[MetricReport]


class Model:
    """A model's history."""

    def __init__(self, history: Sequence[HistoryRow]) -> None:
        self._history = history

    def about(self, version: str) -> list[Change]:
        """Changes that are about the version, oldest first. A change that moved two aliases is one."""
        found = [
            Change(
                action=row.action,
                event_time_ms=row.event_time_ms,
                actor=row.actor,
                reason=row.reason,
                row_sha256=row.row_sha256,
            )
            for row in self._history
            if row.subject == version
        ]
        told = [(one.action, one.event_time_ms, one.actor, one.reason) for one in found]
        return [one for at, one in enumerate(found) if told[at] not in told[:at]]

    def champion_at(self, at_ms: int) -> str | None:
        """The version that was the champion at this event time, by the times of the promotions."""
        named = [row for row in self._history if row.alias == CHAMPION and row.event_time_ms <= at_ms]
        return named[-1].version if named else None


def version_account(row: VersionRow, model: Model, store: ArtifactStore) -> VersionAccount:
    """From the registry; whatever an older lineage, or that of a version trained elsewhere, lacks is None."""
    lineage = row.lineage
    dataset = dict(lineage.get("dataset") or {})
    environment = lineage.get("environment")
    return VersionAccount(
        status=row.status,
        aliases=list(row.aliases),
        history=model.about(row.version),
        estimator=_estimator(lineage),
        parameters=lineage.get("parameters"),
        seed=lineage.get("seed"),
        train_rows=lineage.get("train_rows"),
        holdout_rows=lineage.get("holdout_rows"),
        rows_from_ms=row.trained_from_ms,
        rows_to_ms=row.trained_to_ms,
        dataset=dataset,
        validation=(lineage.get("validation") or {}).get("verdict"),
        model_digest=lineage.get("model_digest"),
        model_file=None if row.artifact is None else row.artifact.sha256,
        code_commit=str(lineage.get("code_commit") or "unknown"),
        environment=dict(environment) if isinstance(environment, dict) else {},
        lock_sha256=(lineage.get("lock") or {}).get("sha256"),
        compared_with=lineage.get("compared_with"),
        metrics=row.metrics,
        gates=row.gates,
        dataset_kept=_kept(store, dataset.get("uri")),
    )


def _estimator(lineage: dict[str, Any]) -> str | None:
    river = (lineage.get("training") or {}).get("river")
    return river.get("model") if isinstance(river, dict) else lineage.get("estimator")


def _kept(store: ArtifactStore, uri: str | None) -> bool:
    try:
        return uri is not None and store.path(uri).is_file()
    except (RegistryError, OSError):
        return False


def windows_of(
    assessments: AssessmentStore, model_id: str, version: str, at_ms: int, segments: Collection[str]
) -> list[WindowAccount]:
    """Reports of the windows that hold the event time: of all rows, and of the row's own segments."""
    ends: list[WindowReport] = assessments.reports(
        model_id, version=version, from_ms=at_ms, to_ms=None, provisional=True, limit=None
    )
    wanted = {"", *segments}
    holding = [
        report
        for report in ends
        if report.window_start_ms <= at_ms < report.window_end_ms and not report.sliding and report.segment in wanted
    ]
    return [_window(report) for report in sorted(holding, key=lambda report: (report.segment, report.kind))]


def _window(report: WindowReport) -> WindowAccount:
    drifted = [feature for feature in report.features if feature.decision == "drift"]
    problems = [feature.sentence for feature in drifted]
    problems += [one.sentence for one in report.multivariate if one.decision == "drift"]
    problems += [one.sentence for one in report.quality if one.decision == "broken"]
    problems += [f"{one.detector}: {one.sentence}" for one in report.concept if one.state in ("drift", "warning")]
    problems += [one.sentence for one in report.metrics if one.decision == "drift" and one.sentence]
    return WindowAccount(
        report_id=report.report_id,
        kind=report.kind,
        segment=report.segment,
        status=report.status,
        decision=report.decision,
        sentence=report.sentence,
        rows=report.rows,
        labeled_rows=report.labeled_rows,
        window_start_ms=report.window_start_ms,
        window_end_ms=report.window_end_ms,
        drifted=[feature.feature for feature in drifted],
        problems=problems,
        metrics=[metric for metric in report.metrics if metric.value is not None],
    )


def alerts_then(assessments: AssessmentStore, model_id: str, at_ms: int) -> list[Alert]:
    """Alerts that were open at the event time, by the windows that had ended by then; oldest first."""
    latest: dict[str, Alert] = {}
    for alert in reversed(assessments.alert_log(model_id, _ALERT_EVENTS)):
        if alert.window_end_ms <= at_ms:
            latest[alert.alert_id] = alert
    found = [alert for alert in latest.values() if alert.state != "resolved"]
    return sorted(found, key=lambda alert: (alert.opened_at_ms, alert.alert_id))

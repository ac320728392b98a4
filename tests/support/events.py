"""Realistic events for tests of what is downstream of judging."""

from __future__ import annotations

from driftloop.events.decisions import GateResult, ModelEvent, RetrainCommand
from driftloop.events.messages import Alert, WindowKind
from driftloop.events.reports import FeatureReport, MethodResult, MetricReport, WindowReport

__all__ = ["DAY_MS", "alert", "command", "input_report", "model_event", "outcome_report"]

DAY_MS = 86_400_000


def feature(name: str, statistic: float | None, *, drift: bool = False, threshold: float = 0.25) -> FeatureReport:
    """A numeric feature with a method that decides and one that is only reported."""
    return FeatureReport(
        feature=name,
        kind="numeric",
        rows=800,
        missing=3,
        reference_rows=20_000,
        results=[
            MethodResult(method="wasserstein", statistic=statistic, threshold=threshold, p_value=0.01, exceeded=drift),
            MethodResult(method="ks", statistic=statistic and statistic / 2, threshold=None),
        ],
        decision="insufficient" if statistic is None else "drift" if drift else "ok",
        sentence="",
    )


def input_report(
    model: str = "flights-late", version: str = "v1", *, day: int = 1, features: list[FeatureReport] | None = None
) -> WindowReport:
    features = [feature("temp", 1.3, drift=True), feature("humid", 0.1)] if features is None else features
    return _report(
        model,
        version,
        "input",
        day,
        features=features,
        judged_features=sum(f.decision != "insufficient" for f in features),
        drifted_features=sum(f.decision == "drift" for f in features),
    )


def outcome_report(
    model: str = "flights-late", version: str = "v1", *, day: int = 1, auc: float | None = 0.65
) -> WindowReport:
    interval = (None, None) if auc is None else (auc - 0.03, auc + 0.03)
    metrics = [
        MetricReport(metric="roc_auc", value=auc, low=interval[0], high=interval[1], reference=0.71, rows=780),
        MetricReport(
            metric="roc_auc@7",
            value=0.66,
            low=0.65,
            high=0.67,
            reference=0.71,
            rows=5_400,
            threshold=0.03,
            decision="drift",
        ),
    ]
    return _report(model, version, "outcome", day, metrics=metrics, labeled_rows=780, coverage=0.975)


def _report(model: str, version: str, kind: WindowKind, day: int, **more: object) -> WindowReport:
    return WindowReport(
        report_id=f"{model}/{version}/{kind}/{day}",
        model_id=model,
        model_version=version,
        kind=kind,
        segment="",
        window_start_ms=day * DAY_MS,
        window_end_ms=(day + 1) * DAY_MS,
        status="final",
        rows=800,
        late_rows=0,
        sources=[],
        **more,  # type: ignore[arg-type]
    )


def alert(state: str = "opened", *, model: str = "flights-late", alert_id: str = "a1", kind: str = "drift") -> Alert:
    return Alert(
        alert_id=alert_id,
        event_id=f"{alert_id}/{state}",
        model_id=model,
        model_version="v1",
        kind=kind,  # type: ignore[arg-type]
        subject="temp",
        segment="",
        state=state,  # type: ignore[arg-type]
        severity="warning",
        window_start_ms=DAY_MS,
        window_end_ms=2 * DAY_MS,
        opened_at_ms=2 * DAY_MS,
        report_id="r",
        statistic=1.3,
        threshold=0.25,
        message="temp is 1.3 reference deviations higher than the reference",
    )


def command(command_id: str = "c1", *, model: str = "flights-late", trigger: str = "performance") -> RetrainCommand:
    return RetrainCommand(
        command_id=command_id,
        model_id=model,
        champion_version="v1",
        trigger=trigger,
        reason="ROC AUC dropped",
        window_end_ms=2 * DAY_MS,
        from_ms=0,
        to_ms=2 * DAY_MS,
    )


def model_event(
    kind: str, version: str = "v2", *, model: str = "flights-late", command_id: str | None = "c1"
) -> ModelEvent:
    return ModelEvent(
        event_id=f"{model}/{version}/{kind}",
        kind=kind,  # type: ignore[arg-type]
        model_id=model,
        model_version=version,
        event_time_ms=2 * DAY_MS,
        command_id=command_id,
        gates=[
            GateResult(gate="metric", passed=True, value=0.04, bound=-0.01, sentence="better"),
            GateResult(gate="sanity", passed=True, value=None, bound=None, sentence="sane"),
        ],
    )

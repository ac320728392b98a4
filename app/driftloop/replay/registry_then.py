"""What the registry of now would say otherwise than the one that the live run asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.judging.approval import NOT_REGISTERED, Approved
from driftloop.replay.obstacle import Obstacle, count_of, grouped, span_of, told

__all__ = ["missing_profiles", "other_approvals", "registered_later"]


def missing_profiles(reports: list[WindowReport], has_profile: Callable[[str, str], bool]) -> Iterator[Obstacle]:
    for (model, version), those in grouped(reports, lambda report: (report.model_id, report.model_version)):
        if not has_profile(model, version):
            yield Obstacle(
                "profile",
                f"the registry has no reference profile of {model} {version}, which {told(those)} were judged by: "
                "bring the registry's database and files back from a copy, or leave this model out with --model",
            )


def registered_later(alerts: Iterable[Alert], has_profile: Callable[[str, str], bool]) -> Iterator[Obstacle]:
    """Live, predictions of a version that was not registered yet are dead letters and an alert."""
    strays = [alert for alert in alerts if alert.method == NOT_REGISTERED]
    for (model, version), those in grouped(strays, lambda alert: (alert.model_id, alert.model_version)):
        if has_profile(model, version):
            yield Obstacle(
                "registered",
                f"predictions of {model} {version} in {count_of(those, 'window')} ({span_of(those)}) came before the "
                "version was registered: live they were dead letters, a replay counts them. Register a version before "
                "it serves",
            )


def other_approvals(reports: list[WindowReport], alerts: Iterable[Alert], approved: Approved) -> Iterator[Obstacle]:
    """Whether a version may serve is asked of the registry when a window is judged; entries that came into its history
    afterwards give another answer, above all a model's first promotion, before which every version may."""
    alerts = list(alerts)
    unapproved = {(alert.model_id, alert.model_version, alert.window_end_ms) for alert in alerts}
    strays = {
        (alert.model_id, alert.model_version, alert.window_end_ms) for alert in alerts if alert.method == NOT_REGISTERED
    }
    found: dict[tuple[str, str, bool], list[WindowReport]] = defaultdict(list)
    for report in reports:
        if report.kind != "input" or report.segment or report.sliding or not report.rows:
            continue
        window = (report.model_id, report.model_version, report.window_end_ms)
        if window in strays:
            continue  # it was not about approval
        now = approved(*window)
        if now is (window in unapproved):
            found[report.model_id, report.model_version, now].append(report)
    for (model, version, now), those in found.items():
        text = f"{count_of(those, 'window')} ({span_of(those)}) with predictions of {model} {version}"
        if now:
            text = f"{text} have a live alert that it may not serve; by the registry's history of now it may"
        else:
            text = f"{text} have no live alert, and by the registry's history of now the version may not serve there"
        yield Obstacle("approval", f"{text}: what decides it was written after they were judged")

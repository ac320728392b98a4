"""From where on to train: the spec's stretch of time, or only what came after the change that a detector has dated."""

from __future__ import annotations

from collections.abc import Sequence

from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import CandidateSpec

__all__ = ["latest_change_ms", "training_start", "widest_start_ms"]


def latest_change_ms(report: WindowReport, known_ms: int | None) -> int | None:
    """The change for the worse that is to be trained after: the newest one that a detector in drift has dated.

    Of several detectors that date one window differently the earliest counts: a few old rows too many do less harm
    than the loss of many new ones. ``known_ms`` is that of the windows before; it stands until another is found.
    """
    dated = [said.changed_at_ms for said in report.concept if said.state == "drift" and said.changed_at_ms is not None]
    if not dated:
        return known_ms
    return min(dated) if known_ms is None else max(known_ms, min(dated))


def widest_start_ms(candidates: Sequence[CandidateSpec], to_ms: int, changed_at_ms: int | None) -> int:
    """The start of the time that every candidate's rows lie in, if its end is ``to_ms``: 0 if one takes whatever the
    log still has."""
    starts = []
    for candidate in candidates:
        if candidate.last_ms is not None:
            starts.append(to_ms - candidate.last_ms)
        elif candidate.candidate != "since_change":
            return 0
        elif changed_at_ms is not None:
            starts.append(changed_at_ms)
    return min(starts, default=0)


def training_start(spec: ModelSpec, report: WindowReport, changed_at_ms: int | None) -> tuple[int, str]:
    """The start of the training set's time, and words for the command's reason ("" where the change has no part in it).

    With ``training.since_change`` and a dated change later than ``training.last`` allows, only rows since the change
    are taken, if as many as ``training.minimum_rows`` are expected there: at the rate at which labeled rows came in the
    window that was judged last. With ``training.candidates`` it is the start of the widest one.
    """
    if spec.training.candidates:
        return widest_start_ms(spec.training.candidates, report.window_end_ms, changed_at_ms), ""
    from_ms = report.window_end_ms - spec.training.last_ms
    if not spec.training.since_change or changed_at_ms is None or changed_at_ms <= from_ms:
        return from_ms, ""
    length_ms = report.window_end_ms - report.window_start_ms
    expected = report.labeled_rows * (report.window_end_ms - changed_at_ms) // length_ms
    change = f"the change at {format_time(changed_at_ms)}"
    if expected < spec.training.minimum_rows:
        return from_ms, (
            f"trained on {spec.training.last}, because only about {expected} labeled rows are expected since {change} "
            f"and training.minimum_rows is {spec.training.minimum_rows}"
        )
    return changed_at_ms, f"trained since {change}, about {expected} labeled rows"

"""What a person asks for: a command beside the policy, which never hears of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time
from driftloop.policy.breaker import MANUAL
from driftloop.spec.model import ModelSpec

__all__ = ["manual_command"]


def manual_command(
    spec: ModelSpec,
    reports: Iterable[WindowReport],
    *,
    spec_digest: str,
    reason: str,
    actor: str,
    nonce: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> tuple[RetrainCommand, PolicyDecision, int]:
    """The command, the decision that says so, and how many labeled rows it is about.

    ``reports`` are final outcome reports of the model over all rows; those of sliding windows are left out. The data
    ends with the last of them, or at ``to_ms``, and is as long as ``training.last``, or begins at ``from_ms``. The id
    hashes the model, the range and ``nonce``, so that asking again is another command. Raises ``ValueError`` that says
    what to do, for an empty reason, a range that ends after the labels do, and one without labeled rows.
    """
    if not reason.strip():
        raise ValueError("--reason needs a reason that others can follow")
    if spec.task == "ranking":
        raise ValueError(f"{spec.model!r} is a ranking model, and those are watched but not trained here")
    windows = [report for report in reports if not report.sliding and not report.segment]
    if not windows:
        since = "" if from_ms is None else f" that ends after {format_time(from_ms)}"
        raise ValueError(
            f"{spec.model!r} has no final outcome window{since} yet, so there is nothing to train on; "
            "'driftloop reports' shows the windows"
        )
    last = max(windows, key=lambda report: (report.window_end_ms, report.rows, report.model_version))
    end_ms = last.window_end_ms if to_ms is None else to_ms
    if end_ms > last.window_end_ms:
        raise ValueError(
            f"the labels are there up to {format_time(last.window_end_ms)}, the end of the last final outcome window, "
            f"and --to is {format_time(end_ms)}: labels that come early are no fair sample"
        )
    start_ms = end_ms - spec.training.last_ms if from_ms is None else from_ms
    if start_ms >= end_ms:
        raise ValueError(f"the data must begin before it ends, got {format_time(start_ms)} to {format_time(end_ms)}")
    inside = (report for report in windows if report.window_start_ms < end_ms and report.window_end_ms > start_ms)
    rows = sum(report.labeled_rows for report in inside)
    if rows == 0:
        raise ValueError(
            f"no window from {format_time(start_ms)} to {format_time(end_ms)} has a labeled row; choose another range "
            "with --from and --to"
        )
    identity = msgspec.json.encode((spec.model, MANUAL, start_ms, end_ms, nonce))
    command = RetrainCommand(
        command_id=hashlib.sha256(identity).hexdigest()[:32],
        model_id=spec.model,
        champion_version=last.model_version,
        trigger=MANUAL,
        reason=reason.strip(),
        window_end_ms=last.window_end_ms,
        from_ms=start_ms,
        to_ms=end_ms,
        spec_digest=spec_digest,
        actor=actor,
    )
    decision = PolicyDecision(
        model_id=spec.model,
        window_end_ms=last.window_end_ms,
        trigger=MANUAL,
        outcome="retrain",
        reason=reason.strip(),
        command_id=command.command_id,
        actor=actor,
    )
    return command, decision, rows

"""The newest final report of each model, for looking at the whole fleet at once."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, and_, func, select

from driftloop.events.reports import WindowReport
from driftloop.registry.database import reading
from driftloop.registry.tables import window_reports

__all__ = ["latest_final_reports"]

_decode = msgspec.json.Decoder(WindowReport).decode


def latest_final_reports(engine: Engine) -> list[WindowReport]:
    """Of each model and kind the last final window over all rows, of the version with most rows in it; sliding windows
    apart. In order of model and kind."""
    whole = and_(window_reports.c.status == "final", window_reports.c.segment == "")
    last = (
        select(
            window_reports.c.model_id, window_reports.c.kind, func.max(window_reports.c.window_end_ms).label("end_ms")
        )
        .where(whole)
        .group_by(window_reports.c.model_id, window_reports.c.kind)
        .subquery()
    )
    same = and_(
        window_reports.c.model_id == last.c.model_id,
        window_reports.c.kind == last.c.kind,
        window_reports.c.window_end_ms == last.c.end_ms,
    )
    with reading(engine) as connection:
        bodies = connection.execute(select(window_reports.c.body).join(last, same).where(whole)).scalars().all()
    chosen: dict[tuple[str, str], WindowReport] = {}
    for report in map(_decode, bodies):
        if report.sliding:
            continue
        key = (report.model_id, report.kind)
        known = chosen.get(key)
        if known is None or (report.rows, report.model_version) > (known.rows, known.model_version):
            chosen[key] = report
    return [report for _, report in sorted(chosen.items())]

"""What a run has said, held against the known answer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from driftloop.events.messages import Labeled
from driftloop.events.reports import WindowReport
from faults.answer import UNJOINED, Answer, Origin

__all__ = ["differences_from_answer"]


def differences_from_answer(
    known: Answer,
    *,
    until_ms: int,
    final: Mapping[str, WindowReport],
    restated: Mapping[str, WindowReport],
    labeled: Mapping[str, Labeled],
    dead: Mapping[Origin, str],
    dead_values: Mapping[Origin, bytes | None],
) -> list[str]:
    """Sentences on everything that is wrong in a run; windows that begin before ``until_ms`` are looked at."""
    found: list[str] = []

    def compare(what: str, expected: object, said: object) -> None:
        if expected != said:
            found.append(f"{what}: {said!r} instead of {expected!r}")

    for kind, counts in (("input", known.rows), ("outcome", known.labeled)):
        panes = {pane for pane in known.rows if pane[0] < until_ms and known.rows[pane]}
        reports = {
            (report.window_start_ms, report.segment): report
            for report in final.values()
            if report.kind == kind and report.window_start_ms < until_ms
        }
        compare(f"final {kind} windows", panes, set(reports))
        for pane in sorted(panes & set(reports)):
            report = reports[pane]
            compare(f"rows of the {kind} window {pane}", known.rows[pane], report.rows)
            if kind == "outcome":
                compare(f"labeled rows of {pane}", counts[pane], report.labeled_rows)
                compare(f"confusion of {pane}", known.confusion[pane], report.confusion)
    again = {
        (kind, report.window_start_ms, report.segment): (report.rows if kind == "input" else report.labeled_rows)
        for report in restated.values()
        for kind in (report.kind,)
        if report.window_start_ms < until_ms
    }
    expected_again = {
        (kind, *pane): rows
        for kind, panes_of in (("input", known.restated_rows), ("outcome", known.restated_labeled))
        for pane, rows in panes_of.items()
        if pane[0] < until_ms
    }
    for key in sorted(again.keys() | expected_again.keys()):
        compare(f"restated {key}", expected_again.get(key), again.get(key))

    rows = {
        name: (row.revision, row.labeled_at_ms, msgspec.json.decode(row.label, type=bool))
        for name, row in labeled.items()
    }
    for name in sorted(rows.keys() | known.labels.keys()):
        compare(f"label of {name}", known.labels.get(name), rows.get(name))
    for origin in sorted(dead.keys() | known.dead.keys()):
        compare(f"dead letter {origin}", _named(known.dead.get(origin)), _named(dead.get(origin)))
    for origin in dead_values.keys() & known.dead_values.keys():
        compare(f"bytes of the dead letter {origin}", known.dead_values[origin], dead_values[origin])
    return found


def _named(code: str | None) -> str | None:
    return "not joined" if code in UNJOINED else code

"""The event clock: never too far ahead of the loop, and still while a model is trained."""

from __future__ import annotations

from driftloop.demo.pace import Pace, ReportHead
from driftloop.events.decisions import ModelEvent, RetrainCommand

DAY_MS = 86_400_000


def command(command_id: str = "c", model_id: str = "a") -> RetrainCommand:
    return RetrainCommand(
        command_id=command_id,
        model_id=model_id,
        champion_version="v1",
        trigger="schedule",
        reason="",
        window_end_ms=0,
        from_ms=0,
        to_ms=0,
    )


def event(kind: str, command_id: str | None = "c") -> ModelEvent:
    return ModelEvent(
        event_id="e",
        kind=kind,  # type: ignore[arg-type]
        model_id="a",
        model_version="v2",
        event_time_ms=0,
        command_id=command_id,
    )


def report(
    model_id: str, end_ms: int, *, kind: str = "outcome", segment: str = "", status: str = "final"
) -> ReportHead:
    return ReportHead(model_id, kind, segment, end_ms, status)


def test_the_clock_follows_the_slowest_model() -> None:
    pace = Pace(["a", "b"], 0, 3 * DAY_MS)
    assert pace.hold(3 * DAY_MS) is None
    assert "1970-01-01" in (pace.hold(3 * DAY_MS + 1) or "")
    pace.observe_report(report("a", 2 * DAY_MS))
    assert pace.hold(4 * DAY_MS) is not None
    pace.observe_report(report("b", DAY_MS))
    assert (pace.slowest_ms, pace.hold(4 * DAY_MS)) == (DAY_MS, None)
    pace.observe_report(report("b", 0))
    assert pace.slowest_ms == DAY_MS


def test_only_final_outcome_windows_of_all_rows_count() -> None:
    pace = Pace(["a"], 0, DAY_MS)
    for other in (
        report("a", DAY_MS, kind="input"),
        report("a", DAY_MS, segment="origin=JFK"),
        report("a", DAY_MS, status="provisional"),
        report("stranger", DAY_MS),
    ):
        pace.observe_report(other)
    assert (pace.slowest_ms, pace.final_ms) == (0, {"a": 0})


def test_the_clock_waits_for_a_retrain_until_something_came_of_it() -> None:
    for end in ("promoted", "rejected", "failed"):
        pace = Pace(["a"], 0, DAY_MS)
        pace.observe_command(command())
        assert pace.hold(0) == "the clock waits while a is retrained"
        pace.observe_model_event(event("registered"))
        pace.observe_model_event(event(end, command_id="another"))
        assert pace.hold(0) is not None
        pace.observe_model_event(event(end))
        assert (pace.hold(0), pace.training) == (None, [])


def test_an_event_that_overtakes_its_command_is_remembered() -> None:
    pace = Pace(["a"], 0, DAY_MS)
    pace.observe_model_event(event("promoted"))
    pace.observe_command(command())
    assert pace.hold(0) is None
    pace.observe_command(command("d"))
    pace.give_up_on("d")
    pace.observe_command(command("d"))
    assert pace.hold(0) is None
    pace.observe_command(command("x", model_id="stranger"))
    assert pace.hold(0) is None

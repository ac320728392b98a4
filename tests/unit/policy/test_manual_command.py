"""What a person may ask for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from driftloop.events.reports import WindowReport
from driftloop.policy.manual import manual_command
from support.policy_story import DAY, PERFORMANCE, outcome, spec


def windows(*days: int, labeled: int = 100, **fields: Any) -> list[WindowReport]:
    return [outcome(day, labeled_rows=labeled, **fields) for day in days]


def ask(reports: list[WindowReport], **options: Any) -> Any:
    given = {"spec_digest": "d", "reason": " new prices ", "actor": "ann", "nonce": "1"} | options
    return manual_command(spec(PERFORMANCE), reports, **given)


def test_the_last_windows_by_default() -> None:
    command, decision, rows = ask(windows(1, 30, 90, 100))
    assert (command.from_ms, command.to_ms, command.window_end_ms) == (40 * DAY, 100 * DAY, 100 * DAY)
    assert (command.trigger, command.reason, command.actor, command.champion_version) == (
        "manual",
        "new prices",
        "ann",
        "v1",
    )
    assert rows == 200
    assert (decision.trigger, decision.outcome, decision.command_id) == ("manual", "retrain", command.command_id)
    assert decision.actor == "ann"


def test_a_range_of_ones_own_and_another_command_each_time() -> None:
    command, _, rows = ask(windows(1, 2, 3, 4), from_ms=DAY, to_ms=3 * DAY)
    assert (command.from_ms, command.to_ms, command.window_end_ms, rows) == (DAY, 3 * DAY, 4 * DAY, 200)
    again, _, _ = ask(windows(1, 2, 3, 4), from_ms=DAY, to_ms=3 * DAY, nonce="2")
    assert again.command_id != command.command_id
    assert ask(windows(1, 2, 3, 4), from_ms=DAY, to_ms=3 * DAY)[0] == command


@pytest.mark.parametrize(
    ("reports", "options", "says"),
    [
        ([], {}, "has no final outcome window yet"),
        (windows(5, sliding="7d"), {}, "has no final outcome window yet"),
        (windows(5, segment="a=b"), {}, "has no final outcome window yet"),
        (windows(5), {"reason": "  "}, "--reason needs a reason"),
        (windows(5), {"to_ms": 6 * DAY}, "the labels are there up to 1970-01-06.*and --to is 1970-01-07"),
        (windows(5), {"from_ms": 5 * DAY}, "must begin before it ends"),
        (windows(5, labeled=0), {}, "has a labeled row; choose another range"),
        (windows(1, 50), {"from_ms": 10 * DAY, "to_ms": 20 * DAY}, "no window from 1970-01-11 to 1970-01-21"),
    ],
)
def test_what_cannot_be_trained_is_refused(reports: list[WindowReport], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ask(reports, **options)


def test_a_ranking_is_not_trained_here() -> None:
    ranking = msgspec.structs.replace(spec(), task="ranking")
    with pytest.raises(ValueError, match="ranking"):
        manual_command(ranking, windows(1), spec_digest="", reason="x", actor="a", nonce="")

"""Whether a schedule is due: so long after the last command, or at times of a calendar that have passed since."""

from __future__ import annotations

from driftloop.events.time import duration_text, format_time
from driftloop.spec.cron import latest_time_ms
from driftloop.spec.policy import TriggerSpec

__all__ = ["schedule_reason"]


def schedule_reason(
    trigger: TriggerSpec, last_command_ms: int | None, first_window_start_ms: int | None, now_ms: int
) -> str | None:
    """Why the schedule is due in the window that ends at ``now_ms``, or None.

    A time of ``cron`` is due from the first window on that ends at it or later, until a command comes: whatever asked
    for it, it answers every time before the end of its window. Raises ``ValueError`` for a schedule without times.
    """
    since_ms = first_window_start_ms if last_command_ms is None else last_command_ms
    if since_ms is None:
        return None
    if trigger.cron is not None:
        zone = trigger.timezone or "UTC"
        time_ms = latest_time_ms(trigger.cron, zone, now_ms)
        return f"it is {trigger.cron!r} ({zone}) at {format_time(time_ms)}" if time_ms > since_ms else None
    if trigger.every_ms is None:
        raise ValueError("a trigger on schedule needs 'every', for instance every: 30d, or 'cron'")
    if now_ms - since_ms < trigger.every_ms:
        return None
    since = "the first window" if last_command_ms is None else "the last command"
    return f"{duration_text(now_ms - since_ms)} since {since}, to be retrained every {trigger.every}"

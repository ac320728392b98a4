"""Windows without a single row: no source publishes a partial of them, so they are found by what is not there."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["empty_window_ends"]


def empty_window_ends(
    *, window_ms: int, last_end_ms: int | None, quiet: int, limit: int, final_ends_ms: Iterable[int], until_ms: int
) -> list[int]:
    """Ends of the empty windows to be reported: up to ``limit`` in a row after each window with rows.

    ``last_end_ms`` is the end of the last window reported, of which the last ``quiet`` were empty (None: the model has
    not begun; its first window then starts it), ``final_ends_ms`` the ends of windows with rows that are final and not
    reported yet, ``until_ms`` the watermark that all sources have passed. Before a model's first window nothing is
    missing, and after ``limit`` empty ones it counts as stopped until rows come again. What is reported hangs on the
    sequence of windows alone, not on when it is asked for.

    >>> empty_window_ends(window_ms=10, last_end_ms=20, quiet=0, limit=2, final_ends_ms=[70], until_ms=95)
    [30, 40, 80, 90]
    """
    waiting = sorted(final_ends_ms)
    if last_end_ms is None:
        if not waiting:
            return []
        last_end_ms = waiting.pop(0)
    # Another window length than before: go on with the first window that starts at or after the last end.
    aligned_ms = -(-last_end_ms // window_ms) * window_ms
    empty: list[int] = []
    for stop_ms in [*waiting, until_ms + window_ms]:
        end_ms = aligned_ms + window_ms
        while end_ms < stop_ms and end_ms <= until_ms and quiet < limit:
            empty.append(end_ms)
            quiet += 1
            end_ms += window_ms
        aligned_ms, quiet = stop_ms, 0
    return empty

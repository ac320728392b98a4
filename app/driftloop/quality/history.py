"""What the checks that compare with earlier windows remember of a model, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from driftloop.events.time import NEVER_MS
from driftloop.profiles.inputs import InputStats

__all__ = ["KEPT_SHARES", "QualityHistory", "begun", "caught_up", "remember"]

_WEEK_MS = 7 * 86_400_000

#: Row counts are kept for four weeks, but for no more windows than this.
_MOST_WINDOWS = 1_008

#: Shares are kept of so many windows.
KEPT_SHARES = 28

_MOST_KEYS = 256

ItemT = TypeVar("ItemT")


class QualityHistory(Struct, frozen=True, kw_only=True):
    """The model's input windows up to ``end_ms``.

    ``rows``: rows over all versions in consecutive windows, oldest first, empty ones included. ``quiet``: how many of
    the last windows were empty. ``version`` served in the last window that was not. Of windows with rows: ``repeated``
    (ids, records), ``copies`` (share of rows that are copies), ``key_rows`` (rows whose keys were looked at). ``keys``:
    extra keys with the end of the last window that had them. ``judged`` windows had rows enough for the checks of
    features, and ``usual`` has, by subject, the end of the last of them with a finding that was no break.
    """

    version: str = ""
    end_ms: int = NEVER_MS
    window_ms: int = 0
    rows: tuple[int, ...] = ()
    quiet: int = 0
    repeated: tuple[tuple[int, int], ...] = ()
    copies: tuple[float, ...] = ()
    key_rows: tuple[int, ...] = ()
    keys: dict[str, int] = field(default_factory=dict)
    judged: int = 0
    usual: dict[str, int] = field(default_factory=dict)


def begun(history: QualityHistory) -> bool:
    """Whether the model has had a window."""
    return history.end_ms > NEVER_MS


def caught_up(history: QualityHistory, start_ms: int, window_ms: int) -> QualityHistory:
    """The history up to a window's start: windows in between that nobody reported were empty. Another window length
    starts the row counts anew."""
    if not begun(history) or history.window_ms != window_ms:
        return replace(history, end_ms=start_ms, window_ms=window_ms, rows=())
    skipped = (start_ms - history.end_ms) // window_ms
    if skipped <= 0:
        return history
    rows = (*history.rows, *[0] * min(skipped, _MOST_WINDOWS))[-_kept_windows(window_ms) :]
    return replace(history, end_ms=start_ms, rows=rows, quiet=history.quiet + skipped)


def remember(
    history: QualityHistory,
    stats: InputStats,
    version: str,
    *,
    rows: int,
    end_ms: int,
    copies: float | None,
    usual: Iterable[str] = (),
) -> QualityHistory:
    """The history with one more window, after :func:`caught_up`. ``stats`` are the serving version's, ``rows`` the
    model's, ``copies`` the share of copies or None if there were too few rows to judge features, ``usual`` the subjects
    of findings that are no break."""
    quality = stats.quality
    history = replace(
        history,
        end_ms=end_ms,
        rows=(*history.rows, rows)[-_kept_windows(history.window_ms) :],
        quiet=0 if rows else history.quiet + 1,
        version=version,
    )
    if not rows:
        return history
    keys = {**history.keys, **dict.fromkeys(quality.keys.extra.counts, end_ms)}
    oldest_ms = end_ms - KEPT_SHARES * history.window_ms
    newest = sorted((name for name, seen_ms in keys.items() if seen_ms > oldest_ms), key=lambda n: (-keys[n], n))
    found = {**history.usual, **dict.fromkeys(usual, end_ms)}
    return replace(
        history,
        judged=history.judged + (copies is not None),
        usual={subject: seen_ms for subject, seen_ms in sorted(found.items()) if seen_ms > end_ms - _usual_ms(history)},
        repeated=_last(history.repeated, (quality.repeated_ids, stats.rows + quality.repeated_ids)),
        copies=history.copies if copies is None else _last(history.copies, copies),
        key_rows=_last(history.key_rows, quality.keys.rows),
        keys={name: keys[name] for name in sorted(newest[:_MOST_KEYS])},
    )


def _usual_ms(history: QualityHistory) -> int:
    return max(4 * _WEEK_MS, KEPT_SHARES * history.window_ms)


def _last(items: tuple[ItemT, ...], item: ItemT) -> tuple[ItemT, ...]:
    return (*items, item)[-KEPT_SHARES:]


def _kept_windows(window_ms: int) -> int:
    return max(KEPT_SHARES, min(4 * _WEEK_MS // window_ms, _MOST_WINDOWS))

"""How many windows in a row spoke for each trigger, and whether those that make it due had sound data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["LEAST_SHARE", "Streaks"]

#: So much of what makes a trigger due must be broken: one window of many is no reason to doubt it.
LEAST_SHARE = 0.25


class Streaks:
    """``rows``: windows in a row that spoke for a trigger, by its name. ``broken``: of triggers that a window with
    broken data spoke for, which of the last ones were broken, oldest first; at most as many as the trigger needs."""

    def __init__(self, rows: Mapping[str, int], broken: Mapping[str, Sequence[bool]]) -> None:
        self.rows = dict(rows)
        self.broken = {name: list(windows) for name, windows in broken.items()}

    def speaks(self, name: str, needed: int, *, broken: bool) -> bool:
        """One more window speaks for the trigger, which needs so many in a row. Whether it is due."""
        self.rows[name] = self.rows.get(name, 0) + 1
        windows = [*self.broken.pop(name, ()), broken][-needed:]
        if any(windows):
            self.broken[name] = windows
        return self.rows[name] >= needed

    def ends(self, name: str) -> None:
        """A window speaks against the trigger."""
        self.rows[name] = 0
        self.broken.pop(name, None)

    def unsound(self, name: str, needed: int) -> bool:
        """Whether a quarter or more of the windows that make the trigger due are broken."""
        return sum(self.broken.get(name, ())) >= max(1.0, LEAST_SHARE * needed)

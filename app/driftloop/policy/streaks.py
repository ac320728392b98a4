"""How many windows in a row spoke for each trigger, and whether those that make it due had sound data."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Streaks"]


class Streaks:
    """``rows``: windows in a row that spoke for a trigger, by its name. ``unsound``: of triggers that a window with
    broken data spoke for, how many sound ones have to follow before none of those that it needs is a broken one."""

    def __init__(self, rows: Mapping[str, int], unsound: Mapping[str, int]) -> None:
        self.rows, self.unsound = dict(rows), dict(unsound)

    def speaks(self, name: str, needed: int, *, broken: bool) -> bool:
        """One more window speaks for the trigger, which needs so many in a row. Whether it is due."""
        self.rows[name] = self.rows.get(name, 0) + 1
        if broken:
            self.unsound[name] = needed
        elif self.unsound.get(name, 0) > 1:
            self.unsound[name] -= 1
        else:
            self.unsound.pop(name, None)
        return self.rows[name] >= needed

    def ends(self, name: str) -> None:
        """A window speaks against the trigger."""
        self.rows[name] = 0
        self.unsound.pop(name, None)

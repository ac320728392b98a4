"""The newest labeled rows of a log that is read in any order, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

from driftloop.events.messages import Labeled

__all__ = ["NewestRows", "rank"]

#: So much more than what is wanted is held before what is too old is let go.
_SLACK = 1.25


def rank(row: Labeled) -> tuple[int, int, int]:
    """Which of several rows of one prediction counts: the one with the highest rank."""
    # The offset settles which of two labels of the same revision and time counts: the one written later.
    return row.revision, row.labeled_at_ms, row.label_offset


class NewestRows:
    """Rows, of which those of the newest ``most_rows`` predictions are kept, by (predicted_at_ms, id); None: all.

    The predictions among the newest are so for every part of the rows as well. So whatever is let go on the way is in
    no later answer, and the newest predictions are complete, with their best rows, whatever the order.
    """

    def __init__(self, most_rows: int | None = None) -> None:
        self._most_rows = most_rows
        self.rows: list[Labeled] = []

    def extend(self, rows: Iterable[Labeled]) -> None:
        """Take in rows; at most a quarter more than ``most_rows``, and those of this call, are held at a time."""
        self.rows.extend(rows)
        if self._most_rows is None or len(self.rows) <= _SLACK * self._most_rows:
            return
        best: dict[str, Labeled] = {}
        for row in self.rows:
            known = best.get(row.prediction_id)
            if known is None or rank(row) > rank(known):
                best[row.prediction_id] = row
        newest = sorted(best.values(), key=lambda row: (row.predicted_at_ms, row.prediction_id))
        self.rows = newest[-self._most_rows :]

"""What must come of a history, computed from its events in plain Python and with nothing of driftloop's.

The rules are those of docs/architecture.md, written down a second time. Whatever a run says is held against this, calm
and disturbed alike.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from faults.history import Sent
from support.world import DAY, HOUR

__all__ = ["Answer", "Origin", "answer", "partition_of"]

HORIZON, LATENESS, KEEP = 12 * HOUR, HOUR, 36 * HOUR
NEVER = -(10**18)

#: Topic without prefix, partition, offset.
Origin = tuple[str, int, int]
#: Start of the window and segment.
Pane = tuple[int, str]

#: A label that comes when its prediction may be forgotten already is named by what was still there.
UNJOINED = frozenset({"no_prediction", "label_too_late"})


@dataclass
class Row:
    """A prediction that was taken in."""

    start: int
    time: int
    watermark: int
    late: bool
    region: str
    score: float
    in_time: tuple[tuple[int, int], bool] | None = None
    standing: tuple[tuple[int, int], bool] | None = None
    late_label: bool = False


@dataclass
class Answer:
    """Counts by window and segment; ``restated`` those of panes that something late reached, all rows together."""

    rows: Counter[Pane] = field(default_factory=Counter)
    labeled: Counter[Pane] = field(default_factory=Counter)
    #: [[true negatives, false positives], [false negatives, true positives]] of rows and labels in time.
    confusion: dict[Pane, list[list[int]]] = field(default_factory=lambda: defaultdict(lambda: [[0, 0], [0, 0]]))
    restated_rows: dict[Pane, int] = field(default_factory=dict)
    restated_labeled: dict[Pane, int] = field(default_factory=dict)
    #: By prediction id: revision, when it became known, and the label that stands in the end.
    labels: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    dead: dict[Origin, str] = field(default_factory=dict)
    dead_values: dict[Origin, bytes | None] = field(default_factory=dict)
    duplicates: int = 0


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's clients place a key: murmur2, as in the Java client (seed 0x9747b28c), positive, modulo."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(key)
    h = 0x9747B28C ^ length
    for at in range(0, length - length % 4, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    rest = key[length - length % 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return ((h ^ (h >> 15)) & 0x7FFFFFFF) % partitions


def answer(sent: list[Sent], partitions: int) -> Answer:
    """The known answer."""
    logs: dict[tuple[str, int], list[tuple[bytes | None, str | None]]] = defaultdict(list)
    for (_, topic, key, value), fate in sent:
        logs[topic, partition_of(key.encode(), partitions)].append((value, fate))
    found = Answer()
    every: list[Row] = []
    for partition in range(partitions):
        rows = _predictions(logs["predictions", partition], partition, found)
        _labels(logs["labels", partition], partition, rows, found)
        every += rows.values()
    _count(every, found)
    return found


def _good(
    log: list[tuple[bytes | None, str | None]], topic: str, partition: int, found: Answer
) -> list[tuple[Origin, bytes, dict[str, Any], int]]:
    """Records that can be read, each with its partition's watermark before it."""
    good, maximum = [], NEVER
    for offset, (value, fate) in enumerate(log):
        origin = (topic, partition, offset)
        if fate is not None or value is None:
            found.dead[origin], found.dead_values[origin] = str(fate), value
            continue
        event = json.loads(value)
        good.append((origin, value, event, maximum - LATENESS))
        maximum = max(maximum, event["event_time_ms"])
    return good


def _predictions(log: list[tuple[bytes | None, str | None]], partition: int, found: Answer) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for origin, value, event, watermark in _good(log, "predictions", partition, found):
        time, pid = event["event_time_ms"], event["prediction_id"]
        end = time - time % DAY + DAY
        if pid in rows and watermark < rows[pid].start + DAY + KEEP:
            found.duplicates += 1
        elif watermark >= end + KEEP:
            found.dead[origin], found.dead_values[origin] = "too_late", value
        else:
            region, score = event["features"]["region"], event["prediction"]
            rows[pid] = Row(end - DAY, time, watermark, watermark >= end, region, score)
    return rows


def _labels(log: list[tuple[bytes | None, str | None]], partition: int, rows: dict[str, Row], found: Answer) -> None:
    for origin, value, event, watermark in _good(log, "labels", partition, found):
        row, known = rows.get(event["prediction_id"]), event["event_time_ms"]
        code = None if row is None else _refused(row, known, watermark)
        if row is None or code is not None:
            found.dead[origin], found.dead_values[origin] = code or "no_prediction", value
            continue
        ranked = ((event.get("revision", 0), known), event["label"])
        late = row.late or watermark >= row.start + DAY + HORIZON
        if row.standing is not None and ranked[0] <= row.standing[0]:
            continue
        row.standing = ranked
        row.late_label |= late
        if not late:
            row.in_time = ranked
        found.labels[event["prediction_id"]] = (*ranked[0], ranked[1])


def _refused(row: Row, known: int, watermark: int) -> str | None:
    if row.watermark >= known + DAY:
        return "no_prediction"  # the label had been given up when its prediction came
    if known < row.time - LATENESS:
        return "label_before_prediction"
    if known > row.time + HORIZON or watermark >= row.start + DAY + KEEP:
        return "label_too_late"
    return None


def _count(rows: list[Row], found: Answer) -> None:
    everything: Counter[Pane] = Counter()
    all_labeled: Counter[Pane] = Counter()
    late_rows: set[Pane] = set()
    late_outcomes: set[Pane] = set()
    for row in rows:
        for pane in ((row.start, ""), (row.start, f"region={row.region}")):
            everything[pane] += 1
            all_labeled[pane] += row.standing is not None
            found.rows[pane] += not row.late
            found.labeled[pane] += row.in_time is not None
            if row.in_time is not None:
                found.confusion[pane][row.in_time[1]][row.score >= 0.5] += 1
            if row.late:
                late_rows.add(pane)
            if row.late or row.late_label:
                late_outcomes.add(pane)
    found.restated_rows = {pane: everything[pane] for pane in late_rows}
    found.restated_labeled = {pane: all_labeled[pane] for pane in late_outcomes}

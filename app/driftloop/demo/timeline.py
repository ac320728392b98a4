"""The year as a stream: departures and arrivals of a stretch of flights in event-time order over both topics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from msgspec import Raw
from numpy.typing import NDArray

from driftloop.demo.flights import CATEGORICAL, FEATURES

__all__ = ["Chunk", "FeatureTexts", "Timeline", "encode_features"]

HOUR_MS = 3_600_000
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Chunk:
    """What happens in one hour of event time, [``start_ms``, ``end_ms``).

    ``flights`` (n,) int64: rows of the timeline's frame; ``arrivals`` (n,) bool: an arrival (a label becomes known) or
    a departure (a prediction is made); ``times_ms`` (n,) int64, not decreasing.
    """

    start_ms: int
    end_ms: int
    flights: NDArray[np.int64]
    arrivals: NDArray[np.bool_]
    times_ms: NDArray[np.int64]


class Timeline:
    """Flights scheduled to depart in [``from_ms``, ``to_ms``), with their arrivals, which may be later than that."""

    def __init__(self, flights: pd.DataFrame, from_ms: int, to_ms: int) -> None:
        departure = flights["departure_ms"].to_numpy(np.int64)
        chosen = (departure >= from_ms) & (departure < to_ms)
        if not chosen.any():
            raise ValueError("no flight departs in the chosen stretch of time; the data covers 2013")
        self.frame = flights[chosen].reset_index(drop=True)
        self.from_ms = from_ms
        departs = self.frame["departure_ms"].to_numpy(np.int64)
        arrives = self.frame["arrival_ms"].to_numpy(np.int64)
        arrived = np.flatnonzero(arrives >= 0)
        times = np.concatenate([departs, arrives[arrived]])
        rows = np.concatenate([np.arange(len(departs)), arrived]).astype(np.int64)
        is_arrival = np.concatenate([np.zeros(len(departs), np.bool_), np.ones(len(arrived), np.bool_)])
        # No flight arrives before it departs, so an arrival never comes before its departure; ties go by row.
        order = np.lexsort((rows, is_arrival, times))
        self._times, self._rows, self._arrivals = times[order], rows[order], is_arrival[order]
        self.last_departure_ms = int(departs[-1])
        self.end_ms = int(self._times[-1]) + 1

    def __len__(self) -> int:
        """Events of one model: predictions and labels."""
        return len(self._times)

    @property
    def labels(self) -> int:
        """Flights whose arrival is known."""
        return int(self._arrivals.sum())

    def chunks(self) -> Iterator[Chunk]:
        """Hour by hour; hours in which nothing happens are left out."""
        first = self.from_ms - self.from_ms % HOUR_MS
        edges = np.arange(first, self.end_ms + HOUR_MS, HOUR_MS, dtype=np.int64)
        places = np.searchsorted(self._times, edges)
        for start_ms, low, high in zip(edges.tolist(), places[:-1].tolist(), places[1:].tolist(), strict=False):
            if high > low:
                part = slice(low, high)
                yield Chunk(start_ms, start_ms + HOUR_MS, self._rows[part], self._arrivals[part], self._times[part])


class FeatureTexts:
    """The features of each flight as JSON, encoded block by block, once for all models."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._blocks: dict[int, list[Raw]] = {}

    def __getitem__(self, row: int) -> Raw:
        block, place = divmod(row, _BLOCK_ROWS)
        texts = self._blocks.get(block)
        if texts is None:
            # Departures come in order: what is more than a block back is not asked for again.
            self._blocks = {number: kept for number, kept in self._blocks.items() if number >= block - 1}
            start = block * _BLOCK_ROWS
            texts = self._blocks[block] = encode_features(self._frame.iloc[start : start + _BLOCK_ROWS])
        return texts[place]


def encode_features(frame: pd.DataFrame) -> list[Raw]:
    """One JSON object a row: categorical features as strings, numeric ones as numbers, missing ones as null."""
    columns: list[list[object]] = []
    for name in FEATURES:
        if name in CATEGORICAL:
            columns.append(frame[name].tolist())
        else:
            columns.append([None if value != value else value for value in frame[name].tolist()])
    encode = msgspec.json.Encoder().encode
    return [Raw(encode(dict(zip(FEATURES, row, strict=True)))) for row in zip(*columns, strict=True)]

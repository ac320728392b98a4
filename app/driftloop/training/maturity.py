"""How far the labels of predictions have had their time, by what monitors have published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import SourceProgress
from driftloop.events.time import NEVER_MS
from driftloop.observability.logs import get_logger
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import Assembly

__all__ = ["Maturity"]

log = get_logger(__name__)
_decode = msgspec.json.Decoder(SourceProgress).decode


class Maturity:
    """Follows the progress of monitors; ``read(start)`` gives the records of that topic from an offset on.

    A monitor publishes progress after the labeled rows that it vouches for, so whoever asks first and reads the topic
    of labeled rows to its end afterwards has all rows of what has matured.
    """

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        source_partitions: int,
        read: Callable[[int], Iterator[Iterable[Any]]],
    ) -> None:
        self._assembly = Assembly(specs, source_partitions)
        self._read = read
        self._next_offset = 0

    def refresh(self) -> None:
        """Take in what was published since the last call."""
        for records in self._read(self._next_offset):
            for record in records:
                self._next_offset = record.offset + 1
                if record.value is None:
                    continue
                try:
                    self._assembly.add_progress(_decode(record.value))
                except UNDECODABLE as error:
                    log.error("unreadable progress is skipped", offset=record.offset, reason=str(error))

    def until_ms(self, spec: ModelSpec) -> int:
        """The end of the model's last window that has matured: predictions made before it, and labels that count for
        them, have all come, as for a final outcome window. ``NEVER_MS`` if nothing is known."""
        predictions_ms, labels_ms = self._assembly.maxima_ms()
        if predictions_ms <= NEVER_MS or labels_ms <= NEVER_MS:
            return NEVER_MS
        passed_ms = min(predictions_ms, labels_ms - spec.label_horizon_ms) - spec.allowed_lateness_ms
        return passed_ms - passed_ms % spec.window_ms

"""Which topic partitions are idle, so that they hold no window back.

One from which nothing was taken for a while is idle only if there is nothing to be taken: records may wait because the
broker, a leader or this worker was away, or because other partitions were rebuilt first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["Idleness", "TopicPartition"]

#: Topic and partition.
TopicPartition = tuple[str, int]


class Idleness:
    """Times are seconds of a clock that never goes back, handed in as ``now_s``."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._seen_s: dict[TopicPartition, float] = {}
        self._idle: set[TopicPartition] = set()

    def seen(self, at: TopicPartition, now_s: float) -> None:
        """Something was taken from it, or it was not served until now."""
        self._seen_s[at] = now_s
        self._idle.discard(at)

    def not_served(self, now_s: float) -> None:
        """Until now nothing could be taken from any: what was found idle stays so."""
        for at in self._seen_s.keys() - self._idle:
            self._seen_s[at] = now_s

    def forget(self, partition: int) -> None:
        """It is served elsewhere."""
        for at in [at for at in self._seen_s if at[1] == partition]:
            del self._seen_s[at]
            self._idle.discard(at)

    def is_idle(self, at: TopicPartition) -> bool:
        """Whether it was found so, and nothing came since."""
        return at in self._idle

    def to_look_at(self, now_s: float) -> list[TopicPartition]:
        """Those that may be idle: somebody must find out whether they are at their ends."""
        return [at for at, seen_s in self._seen_s.items() if at not in self._idle and now_s - seen_s > self._timeout_s]

    def found(self, looked_at: Iterable[TopicPartition], ended: Collection[TopicPartition], now_s: float) -> None:
        """What somebody has found: of ``looked_at`` those ``ended`` have nothing more. The others are asked again."""
        for at in looked_at:
            if at not in self._seen_s:
                continue
            if at in ended:
                self._idle.add(at)
            else:
                self._seen_s[at] = now_s

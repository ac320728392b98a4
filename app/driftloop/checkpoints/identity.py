"""What a checkpoint was made of: one that was made of something else is of no use here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version as installed_version
from typing import Self

import msgspec

from driftloop.spec import ModelSpec, spec_digest

__all__ = ["Identity"]

_NAMES = {
    "logs": "another Kafka cluster or topics that were made anew",
    "topic_prefix": "another topic prefix",
    "partition": "another partition",
    "driftloop": "another version of driftloop",
    "specs": "other model specs",
    "limits": "other limits on what is taken in",
}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """``logs`` are the ids of cluster and topics. ``specs`` is a digest of all specs, since records of a model without
    one were left out. ``limits``: the settings that decide what is a dead letter."""

    logs: tuple[str, ...]
    topic_prefix: str
    partition: int
    driftloop: str
    specs: str
    limits: tuple[int, ...]

    @classmethod
    def of(
        cls,
        *,
        logs: tuple[str, ...],
        topic_prefix: str,
        partition: int,
        specs: Iterable[ModelSpec],
        limits: tuple[int, ...],
    ) -> Self:
        digests = sorted(f"{spec.model} {spec_digest(spec)}" for spec in specs)
        return cls(
            logs=logs,
            topic_prefix=topic_prefix,
            partition=partition,
            driftloop=installed_version("driftloop"),
            specs=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
            limits=limits,
        )

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    def difference(self, stored: bytes) -> str | None:
        """How an encoded one differs, in words that follow "it is ignored:"; None if it does not."""
        try:
            other = msgspec.json.decode(stored, type=Identity)
        except msgspec.MsgspecError as error:
            return f"it does not say what it was made of: {error}"
        wrong = [text for name, text in _NAMES.items() if getattr(self, name) != getattr(other, name)]
        return f"it was made with {' and '.join(wrong)}" if wrong else None

"""Outcome statistics as JSON: what stands in it, and what of it only an open window needs."""

from __future__ import annotations

from typing import Any

import msgspec

from driftloop.events.decoding import UNDECODABLE, Count

__all__ = ["OutcomeWire", "read_outcomes", "without_arrivals", "write_outcomes"]


class OutcomeWire(msgspec.Struct, forbid_unknown_fields=False):
    """The fields of encoded :class:`~driftloop.performance.outcomes.OutcomeStats`, each part in its own wire form."""

    settings: list[Any]
    predicted: Count
    labeled: Count
    delays: list[list[int]]
    sums: dict[str, Any]
    arrivals: dict[str, Any] | None = None
    losses: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    bands: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(OutcomeWire)
_ENCODER = msgspec.json.Encoder()


def write_outcomes(wire: OutcomeWire) -> bytes:
    """JSON for :func:`read_outcomes`."""
    return _ENCODER.encode(wire)


def read_outcomes(data: bytes | msgspec.Raw) -> OutcomeWire:
    """The fields again. Raises ``ValueError`` if this is not what :func:`write_outcomes` wrote."""
    try:
        return _DECODER.decode(data)
    except UNDECODABLE as error:
        raise ValueError(f"not outcome statistics: {error}") from error


def without_arrivals(data: bytes) -> bytes:
    """Encoded statistics without what only an open window needs."""
    wire = _DECODER.decode(data)
    wire.arrivals = None
    return _ENCODER.encode(wire)

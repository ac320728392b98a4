"""Pending predictions as bytes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from driftloop.joining.pending import JoinKey, LabelValue, Pending, Saved
from driftloop.joining.store import StoreDamaged
from driftloop.monitoring.cohort import Cohort

__all__ = ["CohortRowCodec", "cohort_prefix"]

_OFFSET_BYTES = 8


class _Row(msgspec.Struct, array_like=True):
    """All of a row but its key, what is in its cohort, and the decoded prediction, which follows from the raw one."""

    cohort: int
    event_time_ms: int
    offset: int
    features: bytes
    prediction: bytes
    segments: tuple[str, ...]
    late: bool
    variant: str | None
    label: LabelValue
    label_delay_ms: int
    counted_rank: tuple[int, int] | None
    standing_rank: tuple[int, int] | None
    weight: float
    watermark_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_Row).decode


def cohort_prefix(number: int) -> bytes:
    """Begins the names of what belongs to a cohort."""
    return number.to_bytes(8, "big")


class CohortRowCodec:
    """``cohort_of`` finds a cohort that has not been dropped by its number."""

    def __init__(self, cohort_of: Callable[[int], Cohort | None]) -> None:
        self._cohort_of = cohort_of

    def key(self, key: JoinKey) -> bytes:
        return f"{key[0]}\0{key[1]}".encode()

    def cohort(self, cohort: Cohort) -> bytes:
        return cohort_prefix(cohort.number)

    def entry(self, row: Pending[Cohort]) -> bytes:
        return cohort_prefix(row.cohort.number) + row.offset.to_bytes(_OFFSET_BYTES, "big")

    def encode(self, row: Pending[Cohort]) -> bytes:
        return _encode(
            _Row(
                row.cohort.number,
                row.event_time_ms,
                row.offset,
                bytes(row.features),
                bytes(row.prediction),
                row.segments,
                row.late,
                row.variant,
                row.label,
                row.label_delay_ms,
                row.counted_rank,
                row.standing_rank,
                row.weight,
                row.watermark_ms,
            )
        )

    def decode(self, key: JoinKey, data: bytes) -> Pending[Cohort] | None:
        """None for a row whose cohort has been dropped. Raises :class:`StoreDamaged` for what is no row."""
        try:
            row = _decode_row(data)
            cohort = self._cohort_of(row.cohort)
            if cohort is None:
                return None
            prediction = msgspec.Raw(row.prediction)
            value = cohort.version.model.prediction.decode(prediction)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreDamaged(f"the stored prediction {key} cannot be read: {error}") from error
        return Pending(
            key=key,
            cohort=cohort,
            event_time_ms=row.event_time_ms,
            offset=row.offset,
            features=msgspec.Raw(row.features),
            prediction=prediction,
            value=value,
            segments=row.segments,
            late=row.late,
            variant=row.variant,
            label=row.label,
            label_delay_ms=row.label_delay_ms,
            counted_rank=row.counted_rank,
            standing_rank=row.standing_rank,
            weight=row.weight,
            watermark_ms=row.watermark_ms,
            saved=Saved.SAME,
        )

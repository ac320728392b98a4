"""``--from`` and ``--to``, the same for every command that takes a span of event time."""

from __future__ import annotations

from driftloop.events.time import parse_time

__all__ = ["parse_span"]


def parse_span(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Event times in milliseconds of what ``--from`` and ``--to`` say; None where they say nothing.

    Raises ``ValueError`` for what is no time, and for a span that ends before or where it begins: whatever was asked
    for, the answer would be "none".

    >>> parse_span("2013-03-01", None)
    (1362096000000, None)
    """
    from_ms, to_ms = _parse("--from", start), _parse("--to", end)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        said = f"expected --from before --to, got --from {start} and --to {end}"
        if from_ms == to_ms:
            said += "; --to is where the span ends, for one day the day after"
        raise ValueError(said)
    return from_ms, to_ms


def _parse(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None

"""The names of reports."""

from __future__ import annotations

from driftloop.events.time import duration_text, format_time
from driftloop.windows.assembly import WindowKey

__all__ = ["report_id_of"]


def report_id_of(key: WindowKey, version: str, segment: str) -> str:
    """The name of a report: readable, and the same in every run."""
    window = f"{format_time(key.start_ms)}+{duration_text(key.end_ms - key.start_ms)}"
    return "/".join((key.model_id, version, key.kind, window, segment or "all"))

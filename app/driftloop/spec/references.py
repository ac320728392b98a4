"""What windows are compared with: the version's profile, the windows just before, or the same slots of past periods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from driftloop.events.time import parse_duration_ms

__all__ = ["MAX_REFERENCE_WINDOWS", "DriftReference", "deciding_reference", "reference_problems"]

#: A rolling or seasonal reference is merged from so many windows at most.
MAX_REFERENCE_WINDOWS = 400

_Count = Annotated[int, Meta(ge=1, le=MAX_REFERENCE_WINDOWS)]


class DriftReference(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One reference. ``training``: the profile of the model version. ``rolling``: the last ``windows`` final windows of
    the same version and segment, merged. ``seasonal``: the windows one to ``periods`` times ``period`` before, merged.
    The one that ``decides`` is heard by alerts and policy (the first one, if none says so); the others are reported.
    """

    name: Literal["training", "rolling", "seasonal"]
    windows: _Count | None = None
    period: Annotated[str, Meta(min_length=2)] | None = None
    periods: _Count | None = None
    decides: bool = False

    def offsets_ms(self, window_ms: int) -> list[int]:
        """How long before the window judged those end that the reference is merged from, nearest first; for training
        none."""
        if self.name == "rolling":
            return [window_ms * back for back in range(1, (self.windows or 0) + 1)]
        if self.name == "seasonal" and self.period is not None:
            period_ms = parse_duration_ms(self.period)
            return [period_ms * back for back in range(1, (self.periods or 0) + 1)]
        return []


def deciding_reference(references: list[DriftReference]) -> DriftReference:
    """The reference that alerts and policy hear of."""
    return next((reference for reference in references if reference.decides), references[0])


def reference_problems(references: list[DriftReference], window_ms: int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with a spec's references, with the key below ``drift.references``."""
    if not references:
        yield (), "expected at least one reference, such as {name: training}"
    for index, reference in enumerate(references):
        wanted = {"training": (), "rolling": ("windows",), "seasonal": ("period", "periods")}[reference.name]
        for key in ("windows", "period", "periods"):
            given = getattr(reference, key) is not None
            if given and key not in wanted:
                yield (index, key), f"a {reference.name} reference has no {key!r}; leave it out"
            elif not given and key in wanted:
                example = {"windows": "28", "period": "7d", "periods": "4"}[key]
                yield (index, key), f"a {reference.name} reference needs {key!r}, such as {key}: {example}"
        if reference.period is not None:
            try:
                period_ms = parse_duration_ms(reference.period)
            except ValueError as error:
                yield (index, "period"), str(error)
                continue
            if period_ms <= 0 or (window_ms > 0 and period_ms % window_ms):
                yield (
                    (index, "period"),
                    f"expected a multiple of the window, so that the same slot comes again, got {reference.period!r}",
                )
        if any(earlier.name == reference.name for earlier in references[:index]):
            yield (index, "name"), f"the reference {reference.name!r} is listed twice"
    if sum(reference.decides for reference in references) > 1:
        second = [index for index, reference in enumerate(references) if reference.decides][1]
        yield (second, "decides"), "only one reference decides; leave the key out of the others"

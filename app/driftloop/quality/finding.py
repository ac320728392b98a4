"""What a check has found, before the correction for many subjects and the decision."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """``exceeded``: the statistic is beyond its threshold. ``p_value`` None: nothing is left to chance, or the check
    corrected for itself. ``enough`` False: too little to judge by. ``may_be_usual``: it is no break in a model whose
    windows have it anyway, such as a day of the week in windows of a day. ``breaks_inputs`` as of ``QualityReport``."""

    check: str
    subject: str
    statistic: float | None
    threshold: float | None
    p_value: float | None
    rows: int
    sentence: str
    exceeded: bool
    enough: bool = True
    low: float | None = None
    high: float | None = None
    breaks_inputs: bool = False
    may_be_usual: bool = False

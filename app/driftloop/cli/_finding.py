"""What a check of ``driftloop doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One check: ``text`` says what was found, and for a failure or a warning what to do. A warning is about what
    works, and perhaps not as it was meant."""

    check: str
    result: Literal["ok", "warning", "failed", "skipped"]
    text: str

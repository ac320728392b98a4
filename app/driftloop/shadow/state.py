"""What a comparison carries from one matured window to the next, and the windows that it takes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec import field as struct_field
from numpy.typing import NDArray

from driftloop.concept.confidence_sequence import ConfidenceSequence
from driftloop.shadow.losses import BoundedLoss
from driftloop.spec.shadow import ShadowSpec

__all__ = ["ArmState", "Cohort", "ComparisonState", "Design", "begin"]

#: ``paired``: both models on the same rows; ``arms``: each on its own rows of a canary.
Design = Literal["paired", "arms"]


def _sequence(alpha: float, reference: float) -> ConfidenceSequence:
    # A mean is never above 1, so the bound of 1 never raises an alarm, which would start the sequence anew.
    return ConfidenceSequence(alpha=alpha, bound=1.0, reference=reference)


class ArmState(Struct, kw_only=True):
    """The losses of one model: rows, their sum in the loss's own unit, and (for an arm) the sequence of their mean."""

    rows: int = 0
    total: float = 0.0
    sequence: ConfidenceSequence | None = None

    @property
    def mean(self) -> float | None:
        return self.total / self.rows if self.rows else None


class ComparisonState(Struct, kw_only=True):
    """The whole state of a comparison of ``challenger`` with ``champion``: encoded as JSON and decoded at any point, it
    goes on as if nothing had happened.

    ``difference`` (paired) is the sequence of the mean of (bound + improvement) / (2 bound), which is in [0, 1].
    ``from_ms``: where the first window begins; ``next_ms``: where the first one begins that was not taken in.
    ``counted_from_ms``: where the first one begins that counts: for arms the one after the window in which the
    challenger's arm spoke for the first time, None until then. ``ratio_rows``: rows of both arms, the champion's first.
    """

    design: Design
    model_id: str
    champion: str
    challenger: str
    loss: BoundedLoss
    from_ms: int
    next_ms: int
    counted_from_ms: int | None
    settings: str = ""
    looks: int = 0
    windows: int = 0
    recorded_rows: int = 0
    champion_arm: ArmState = struct_field(default_factory=ArmState)
    challenger_arm: ArmState = struct_field(default_factory=ArmState)
    difference: ConfidenceSequence | None = None
    ratio_rows: tuple[int, int] = (0, 0)
    left_out: dict[str, int] = struct_field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The predictions made in [``start_ms``, ``end_ms``), all of whose labels have had their horizon.

    ``champion_losses`` (n,) and ``challenger_losses`` (m,) in the unit of the loss, float64; for pairs n = m, row by
    row. ``ratio_rows``: rows with the variant of each arm, whatever else is wrong with them, the champion's first.
    ``recorded_rows``: of the champion's rows, those whose prediction the champion itself had made when it served.
    """

    start_ms: int
    end_ms: int
    champion_losses: NDArray[np.float64]
    challenger_losses: NDArray[np.float64]
    recorded_rows: int = 0
    ratio_rows: tuple[int, int] = (0, 0)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of both models that it brings."""
        return len(self.champion_losses) + len(self.challenger_losses) + sum(self.ratio_rows)


def begin(
    design: Design,
    rules: ShadowSpec,
    loss: BoundedLoss,
    *,
    model_id: str,
    champion: str,
    challenger: str,
    from_ms: int,
    settings: str = "",
    expected_loss: float | None = None,
) -> ComparisonState:
    """A comparison that nothing has been taken into. ``expected_loss``: the mean loss that is expected, as a share of
    the bound; a wrong one costs power and never validity. ``settings``: a digest of what it was begun with."""
    paired = design == "paired"
    reference = 0.5 if expected_loss is None else min(1.0, max(0.0, expected_loss))

    def arm() -> ArmState:
        return ArmState() if paired else ArmState(sequence=_sequence(rules.alpha / 2.0, reference))

    return ComparisonState(
        design=design,
        model_id=model_id,
        champion=champion,
        challenger=challenger,
        loss=loss,
        from_ms=from_ms,
        next_ms=from_ms,
        counted_from_ms=from_ms if paired else None,
        settings=settings,
        champion_arm=arm(),
        challenger_arm=arm(),
        difference=_sequence(rules.alpha, 0.5) if paired else None,
    )

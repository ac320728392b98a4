"""How a challenger is compared with the champion on new predictions: in shadow, or as an arm of a canary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, PositiveInt, Task
from driftloop.spec.problems import KeyPath

if TYPE_CHECKING:
    from driftloop.spec.model import ModelSpec

__all__ = ["LOSSES_OF_TASK", "CanarySpec", "LossName", "ShadowSpec", "shadow_problems"]

LossName = Literal["brier", "log_loss", "error", "absolute_error", "squared_error"]
OpenFraction = Annotated[float, Meta(gt=0.0, lt=1.0)]
VariantName = Annotated[str, Meta(min_length=1, max_length=256)]

#: The losses of each task, the usual one first.
LOSSES_OF_TASK: dict[Task, tuple[LossName, ...]] = {
    "binary": ("brier", "log_loss", "error"),
    "multiclass": ("brier", "log_loss", "error"),
    "regression": ("absolute_error", "squared_error"),
    "ranking": (),
}


class CanarySpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The arms of a canary or A/B test, by the ``variant`` of prediction events: which one the champion serves, which
    the challenger, and the share of the two arms' predictions that the router plans for the challenger. The arms count
    as mismatched once the evidence against that share has reached 1 / ``mismatch``."""

    champion: VariantName
    challenger: VariantName
    share: OpenFraction
    mismatch: OpenFraction = 0.001


class ShadowSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a challenger that is compared with the champion passes: once the lower limit of its improvement (the
    champion's mean loss less the challenger's) is above ``margin``, and it is stopped once the upper limit is not.
    Each limit is wrong at any time with probability ``alpha`` at most.

    ``loss`` null: the task's usual one. Nothing is decided before ``minimum_rows`` compared rows and
    ``minimum_windows`` windows; after ``longest``, or ``most_rows`` rows, it is stopped. ``then``: what a challenger
    that has passed becomes. ``supersede``: while one is compared, go on training by itself, and let the newer
    challenger take its place. ``canary`` names the arms for ``promotion: canary``."""

    loss: LossName | None = None
    margin: float = 0.0
    alpha: OpenFraction = 0.05
    minimum_rows: PositiveInt = 500
    minimum_windows: PositiveInt = 2
    longest: Duration = "30d"
    most_rows: PositiveInt | None = None
    then: Literal["promote", "approval"] = "promote"
    supersede: bool = False
    canary: CanarySpec | None = None

    @property
    def longest_ms(self) -> int:
        return parse_duration_ms(self.longest)

    def loss_of(self, task: Task) -> LossName:
        """The loss that is compared."""
        return self.loss or LOSSES_OF_TASK[task][0]


def shadow_problems(spec: ModelSpec) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with ``promotion`` and ``shadow`` together."""
    rules = spec.shadow
    compared = spec.promotion in ("shadow", "canary")
    if compared and spec.task == "ranking":
        yield ("promotion",), "ranking models are watched, but not compared; expected 'approval' or 'manual'"
        return
    try:
        longest_ms = rules.longest_ms
    except ValueError as error:
        yield ("shadow", "longest"), str(error)
    else:
        if longest_ms <= 0:
            yield ("shadow", "longest"), f"expected a duration longer than nothing, got {rules.longest!r}"
    allowed = LOSSES_OF_TASK[spec.task]
    if rules.loss is not None and rules.loss not in allowed:
        yield (
            ("shadow", "loss"),
            f"expected a loss of {spec.task} models, one of {', '.join(map(repr, allowed)) or 'none'}; "
            f"got {rules.loss!r}",
        )
    if not math.isfinite(rules.margin):
        yield ("shadow", "margin"), f"expected a finite number in the unit of the loss, got {rules.margin}"
    if rules.most_rows is not None and rules.most_rows < rules.minimum_rows:
        yield (
            ("shadow", "most_rows"),
            f"expected at least shadow.minimum_rows ({rules.minimum_rows}), got {rules.most_rows}",
        )
    if spec.promotion == "canary" and rules.canary is None:
        yield (
            ("shadow", "canary"),
            "promotion: canary needs the variants of the two arms and the challenger's planned share, such as "
            "{champion: control, challenger: canary, share: 0.1}",
        )
    if rules.canary is not None and rules.canary.champion == rules.canary.challenger:
        yield (
            ("shadow", "canary", "challenger"),
            f"expected another variant than the champion's, got {rules.canary.challenger!r} for both",
        )

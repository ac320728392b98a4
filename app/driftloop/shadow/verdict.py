"""One more matured window, and what the comparison says after it: promote, keep watching, hold, or stop.

For pairs, d = the champion's loss less the challenger's on the same row lies in [-B, B], so x = (B + d) / 2B in [0, 1].
The limits of the mean of x are a confidence sequence by betting (:mod:`driftloop.concept.confidence_sequence`): right
at all times at once, so that looking after every window, and stopping at the best moment, costs no validity. They need
no independence: what they cover is the average, over the rows so far, of each row's expected difference given all rows
before it, as in Y. J. Choe, A. Ramdas, "Comparing Sequential Forecasters" (Operations Research 72, 2024; arXiv
2110.00115), who bound it with one kind of bet. (For the tilted bets: the product of 1 + m_i c over rows
is at most (1 + m c)^n with m the mean of the m_i, since the logarithm is concave.)

For arms, each mean loss has a sequence of its own at alpha / 2, and the limits of the difference are the differences of
opposite limits (Boole).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.concept.confidence_sequence import ConfidenceSequence
from driftloop.events.decisions import ShadowLook
from driftloop.events.time import format_time
from driftloop.shadow.sample_ratio import ratio_e_value
from driftloop.shadow.state import ArmState, Cohort, ComparisonState
from driftloop.spec.shadow import ShadowSpec

__all__ = ["look", "skip"]

Verdict = Literal["watch", "hold", "promote", "stop"]


def skip(state: ComparisonState, end_ms: int) -> ComparisonState:
    """The state after windows without a row, up to ``end_ms``."""
    after = _copy(state)
    after.next_ms = end_ms
    return after


def look(state: ComparisonState, cohort: Cohort, rules: ShadowSpec) -> tuple[ComparisonState, ShadowLook]:
    """Take in the next matured window. Returns the next state and what it says; the state handed in stays as it was.

    The same windows give the same states and looks to the last bit: sums over a window are rounded once. Raises
    ``ValueError`` for a window that was taken in already, or for losses outside of their bound.
    """
    if cohort.start_ms < state.next_ms:
        raise ValueError(
            f"the window from {format_time(cohort.start_ms)} was taken in already: the next one begins at "
            f"{format_time(state.next_ms)}"
        )
    after = _copy(state)
    after.next_ms, after.looks = cohort.end_ms, state.looks + 1
    if after.design == "arms" and after.counted_from_ms is None:
        # The router may have begun in the middle of this window: its split says nothing yet.
        if len(cohort.challenger_losses):
            after.counted_from_ms = cohort.end_ms
    else:
        _take(after, cohort)
    return after, _said(after, cohort, rules)


def _copy(state: ComparisonState) -> ComparisonState:
    return msgspec.convert(msgspec.to_builtins(state), ComparisonState)


def _take(state: ComparisonState, cohort: Cohort) -> None:
    """Changes ``state``."""
    bound = state.loss.bound
    champion, challenger = cohort.champion_losses, cohort.challenger_losses
    if state.difference is not None:
        if len(champion) != len(challenger):
            raise ValueError(f"expected pairs of losses, got {len(champion)} and {len(challenger)}")
        _feed(state.difference, 0.5 + 0.5 * (champion - challenger) / bound)
    for arm, losses in ((state.champion_arm, champion), (state.challenger_arm, challenger)):
        arm.rows += len(losses)
        arm.total += math.fsum(losses)
        if arm.sequence is not None:
            _feed(arm.sequence, losses / bound)
    state.windows += bool(len(champion) or len(challenger))
    state.recorded_rows += cohort.recorded_rows
    state.ratio_rows = (state.ratio_rows[0] + cohort.ratio_rows[0], state.ratio_rows[1] + cohort.ratio_rows[1])
    for reason, rows in cohort.left_out.items():
        state.left_out[reason] = state.left_out.get(reason, 0) + rows


def _feed(sequence: ConfidenceSequence, values: NDArray[np.float64]) -> None:
    # math.fsum rounds once, so that the rows' order changes nothing.
    sequence.update_batches([len(values)], [math.fsum(values)], [math.fsum(values * values)])


def _limits(state: ComparisonState) -> tuple[float, float]:
    """Both limits of the improvement, in the unit of the loss."""
    bound = state.loss.bound
    if state.difference is not None:
        low, high = state.difference.interval()
        return bound * (2.0 * low - 1.0), bound * (2.0 * high - 1.0)
    assert state.champion_arm.sequence is not None
    assert state.challenger_arm.sequence is not None
    champion_low, champion_high = state.champion_arm.sequence.interval()
    challenger_low, challenger_high = state.challenger_arm.sequence.interval()
    return bound * (champion_low - challenger_high), bound * (champion_high - challenger_low)


def _said(state: ComparisonState, cohort: Cohort, rules: ShadowSpec) -> ShadowLook:
    low, high = _limits(state)
    rows = _rows(state)
    e_value = None
    if state.design == "arms" and rules.canary is not None:
        e_value = ratio_e_value(*state.ratio_rows, rules.canary.share)
    verdict, reason = _verdict(state, rules, low, high, e_value)
    champion, challenger = state.champion_arm.mean, state.challenger_arm.mean
    known = champion is not None and challenger is not None
    arms = sum(state.ratio_rows)
    said = ShadowLook(
        model_id=state.model_id,
        champion=state.champion,
        challenger=state.challenger,
        number=state.looks,
        window_start_ms=cohort.start_ms,
        window_end_ms=cohort.end_ms,
        verdict=verdict,
        reason=reason,
        sentence="",
        loss=state.loss.name,
        margin=rules.margin,
        alpha=rules.alpha,
        windows=state.windows,
        rows=rows,
        champion_rows=state.champion_arm.rows,
        challenger_rows=state.challenger_arm.rows,
        champion_loss=champion,
        challenger_loss=challenger,
        improvement=champion - challenger if known else None,  # type: ignore[operator]
        low=low if known else None,
        high=high if known else None,
        recorded_rows=state.recorded_rows,
        left_out=dict(sorted(state.left_out.items())),
        ratio_e_value=e_value,
        challenger_share=state.ratio_rows[1] / arms if arms else None,
    )
    return msgspec.structs.replace(said, sentence=_sentence(said, rules))


def _rows(state: ComparisonState) -> int:
    """Rows that count for the settings' bounds: pairs, or rows of the smaller arm."""
    arms: tuple[ArmState, ArmState] = (state.champion_arm, state.challenger_arm)
    return min(arm.rows for arm in arms)


def _verdict(
    state: ComparisonState, rules: ShadowSpec, low: float, high: float, e_value: float | None
) -> tuple[Verdict, str]:
    rows = _rows(state)
    mismatched = e_value is not None and rules.canary is not None and e_value >= 1.0 / rules.canary.mismatch
    enough = rows >= rules.minimum_rows and state.windows >= rules.minimum_windows
    # Arms that are not split as planned may differ in more than the model: nothing is decided from them, but time ends.
    if enough and not mismatched:
        if low > rules.margin:
            return "promote", "better"
        if high <= rules.margin:
            return "stop", "worse" if high < 0.0 else "futile"
    if rules.most_rows is not None and rows >= rules.most_rows:
        return "stop", "most_rows"
    if state.next_ms - state.from_ms >= rules.longest_ms:
        return "stop", "longest"
    if mismatched:
        return "hold", "sample_ratio"
    return "watch", "undecided" if enough else "insufficient"


def _sentence(said: ShadowLook, rules: ShadowSpec) -> str:
    names = f"challenger {said.challenger} against champion {said.champion}"
    if said.improvement is None:
        measured = f"{names}: nothing to compare yet"
    else:
        measured = (
            f"{names}: mean {said.loss} {said.challenger_loss:.4g} against {said.champion_loss:.4g} on "
            f"{said.rows:,} {'pairs' if said.ratio_e_value is None else 'rows of the smaller arm'} of {said.windows} "
            f"windows, an improvement of {said.improvement:.3g} [{said.low:.3g}, {said.high:.3g}]"
        )
    return f"{measured}; {_because(said, rules)}"


def _because(said: ShadowLook, rules: ShadowSpec) -> str:
    margin = f"the margin of {rules.margin:g}"
    if said.reason == "better":
        return f"its lower limit is above {margin}"
    if said.reason == "worse":
        return f"the challenger is worse: the upper limit is below 0 and not above {margin}"
    if said.reason == "futile":
        return f"the upper limit is not above {margin}"
    if said.reason == "most_rows":
        return f"undecided after shadow.most_rows = {rules.most_rows:,} rows"
    if said.reason == "longest":
        return f"undecided after shadow.longest = {rules.longest}"
    if said.reason == "sample_ratio":
        share = said.challenger_share or 0.0
        planned = 0.0 if rules.canary is None else rules.canary.share
        return (
            f"the challenger's arm has {share:.2%} of the two arms' rows where {planned:.2%} are planned "
            f"(evidence {said.ratio_e_value:.3g} to 1): the arms are not comparable until the router is mended"
        )
    if said.reason == "insufficient":
        return (
            f"too little yet: shadow.minimum_rows asks for {rules.minimum_rows:,} rows, shadow.minimum_windows for "
            f"{rules.minimum_windows}"
        )
    return f"the interval holds {margin}"

"""The sequential verdict: known answers, its guarantee in simulations, and the same bits for the same windows."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftloop.concept import bets
from driftloop.events.decisions import ShadowLook
from driftloop.shadow.losses import BoundedLoss, bounded_loss
from driftloop.shadow.state import Cohort, ComparisonState, Design, begin
from driftloop.shadow.verdict import look, skip
from driftloop.spec.shadow import CanarySpec, ShadowSpec

DAY = 86_400_000
RULES = ShadowSpec(minimum_rows=100, minimum_windows=2)
CANARY = CanarySpec(champion="control", challenger="canary", share=0.5)
BRIER = BoundedLoss(name="brier", bound=1.0)


def started(rules: ShadowSpec = RULES, design: Design = "paired", loss: BoundedLoss = BRIER) -> ComparisonState:
    return begin(design, rules, loss, model_id="m", champion="v1", challenger="v2", from_ms=0)


def cohort(
    day: int, champion: NDArray[np.float64], challenger: NDArray[np.float64], ratio: tuple[int, int] = (0, 0)
) -> Cohort:
    return Cohort(day * DAY, (day + 1) * DAY, champion, challenger, ratio_rows=ratio)


def trail(
    days: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    rules: ShadowSpec = RULES,
    design: Design = "paired",
    loss: BoundedLoss = BRIER,
) -> list[ShadowLook]:
    """Looks up to the first verdict."""
    state, looks = started(rules, design, loss), []
    for day, (champion, challenger) in enumerate(days):
        ratio = (len(champion), len(challenger)) if design == "arms" else (0, 0)
        state, said = look(state, cohort(day, champion, challenger, ratio), rules)
        looks.append(said)
        if said.verdict in ("promote", "stop"):
            break
    return looks


def scores(rng: np.random.Generator, rows: int, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Brier losses of two models that are equally good, or of which the second is noisier by ``noise``."""
    truth = rng.random(rows)
    labels = (rng.random(rows) < truth).astype(np.float64)
    first = np.clip(truth + rng.normal(0.0, 0.15, rows), 0.0, 1.0)
    second = np.clip(truth + rng.normal(0.0, max(0.0, 0.15 + noise), rows), 0.0, 1.0)
    return (first - labels) ** 2, (second - labels) ** 2


def test_a_better_challenger_is_promoted_and_a_worse_one_stopped() -> None:
    rng = np.random.default_rng(1)
    better = trail([scores(rng, 500, -0.15) for _ in range(29)])
    assert (better[-1].verdict, better[-1].reason) == ("promote", "better")
    assert better[-1].low is not None
    assert better[-1].low > 0.0
    assert all(said.verdict == "watch" for said in better[:-1])
    worse = trail([scores(rng, 500, 0.15) for _ in range(29)])
    assert (worse[-1].verdict, worse[-1].reason) == ("stop", "worse")
    assert "the challenger is worse" in worse[-1].sentence
    # With an improvement that is there, but not what was asked for, it is stopped too.
    rules = msgspec.structs.replace(RULES, margin=0.1)
    futile = trail([scores(rng, 500, -0.15) for _ in range(29)], rules)
    assert (futile[-1].verdict, futile[-1].reason) == ("stop", "futile")
    assert futile[-1].improvement is not None
    assert futile[-1].improvement > 0.0


def test_the_same_model_twice_is_never_promoted_and_ends_with_the_time() -> None:
    rng = np.random.default_rng(2)
    days = [(first, first) for first, _ in (scores(rng, 300, 0.0) for _ in range(40))]
    looks = trail(days)
    assert [said.verdict for said in looks] == ["watch"] * 29 + ["stop"]
    assert looks[-1].reason == "longest"
    assert looks[-1].improvement == 0.0
    # Non-inferiority: the same model is no worse by 0.01.
    assert trail(days, msgspec.structs.replace(RULES, margin=-0.01))[-1].verdict == "promote"


def test_the_interval_is_that_of_its_definition() -> None:
    """Limits found anew, by bisection of the capital written out from the formulas."""
    first, second = scores(np.random.default_rng(3), 400, -0.1)
    said = trail([(first[:150], second[:150]), (first[150:], second[150:])])[-1]
    x = (1.0 + first - second) / 2.0
    guesses = np.r_[np.full(150, 0.5), np.full(250, (0.5 + x[:150].sum()) / 151.0)]
    tilts, stakes = 2.0 ** np.arange(1, -12, -1), 2.0 ** np.arange(-1, -12, -1)

    def capital(values: NDArray[np.float64], centres: NDArray[np.float64], m: float) -> float:
        n, total, spread = len(values), values.sum(), ((values - centres) ** 2).sum()
        tilted = np.exp(tilts * total - n * np.log1p(m * np.expm1(tilts))).mean()
        psi = -np.log1p(-stakes) - stakes
        return float(0.5 * tilted + 0.5 * np.exp(stakes * (total - n * m) - psi * spread).mean())

    def limit(values: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
        low, high = 0.0, float(values.mean())
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if capital(values, centres, middle) < 20.0 else (middle, high)
        return low

    assert said.low == pytest.approx(2.0 * limit(x, guesses) - 1.0, abs=1e-9)
    assert said.high == pytest.approx(2.0 * (1.0 - limit(1.0 - x, 1.0 - guesses)) - 1.0, abs=1e-9)
    assert said.improvement == pytest.approx(float((first - second).mean()), abs=1e-12)


def _capitals(x: NDArray[np.float64], looks: int, m: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """ln of the capital against "the mean is at most m" after each look, shape (runs, looks), x (runs, rows)."""
    batches = x.reshape(len(x), looks, -1)
    return _capitals_of(batches.shape[2], batches.sum(axis=2), (batches**2).sum(axis=2), m)


def _capitals_of(
    count: int, sums: NDArray[np.float64], squares: NDArray[np.float64], m: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same from sums and sums of squares of ``count`` rows each, shape (runs, looks)."""
    n = count * np.arange(1, sums.shape[1] + 1)
    total = sums.cumsum(axis=1)
    before = np.c_[np.zeros(len(sums)), total[:, :-1]]
    guesses = (0.5 + before) / (1.0 + n - count)
    spread = (squares - 2.0 * guesses * sums + count * guesses**2).cumsum(axis=1)
    best = np.full(total.shape, -np.inf)
    for number, weight in enumerate(bets.LOG_WEIGHTS):
        if number < bets._TILTS.size:
            log = bets._TILTS[number] * total - n * np.log1p(m * bets._EXPM1[number])
        else:
            stake = number - bets._TILTS.size
            log = bets._STAKES[stake] * (total - n * m) - bets._PSI[stake] * spread
        best = np.logaddexp(best, weight + log)
    return best


def _first_end(promote: NDArray[np.bool_], stop: NDArray[np.bool_]) -> tuple[int, str]:
    """At which look a run ends and with which verdict: from which looks, shape (looks,), say which."""
    assert not (promote & stop).any()
    if not (promote | stop).any():
        return len(promote), "watch"
    at = int(np.argmax(promote | stop))
    return at + 1, "promote" if promote[at] else "stop"


def test_equally_good_models_are_promoted_in_fewer_than_alpha_of_1000_runs_at_100_looks() -> None:
    runs, looks, rows = 1000, 100, 100
    rng = np.random.default_rng(4)
    line = math.log(1.0 / RULES.alpha)
    first, second = scores(rng, runs * looks * rows, 0.0)
    x = 0.5 + 0.5 * (first - second).reshape(runs, -1)
    promoted, stopped = _capitals(x, looks, 0.5) >= line, _capitals(1.0 - x, looks, 0.5) >= line
    assert promoted.any(axis=1).sum() < RULES.alpha * runs
    # Losses that differ by all or nothing are where the bets are sharpest: some runs are wrong, and fewer than alpha.
    ones = rng.binomial(rows, 0.5, (runs, looks)).astype(np.float64)
    assert 0 < (_capitals_of(rows, ones, ones, 0.5) >= line).any(axis=1).sum() < RULES.alpha * runs
    _engine_ends_like(first, second, promoted, stopped, "watch")
    # A better one is found in most runs, so the test above is not one of a test that never speaks; a worse one too.
    for noise, verdict in ((-0.05, "promote"), (0.05, "stop")):
        first, second = scores(rng, 50 * looks * rows, noise)
        x = 0.5 + 0.5 * (first - second).reshape(50, -1)
        promoted, stopped = _capitals(x, looks, 0.5) >= line, _capitals(1.0 - x, looks, 0.5) >= line
        assert (promoted if verdict == "promote" else stopped).any(axis=1).mean() > 0.9
        _engine_ends_like(first, second, promoted, stopped, verdict)


def _engine_ends_like(
    champion: NDArray[np.float64],
    challenger: NDArray[np.float64],
    promoted: NDArray[np.bool_],
    stopped: NDArray[np.bool_],
    verdict: str,
) -> None:
    """The vectorised capital is the one that decides: three runs with this verdict through the engine end with it at
    the same look. ``promoted`` and ``stopped``: where the lower limit is above 0, and the upper one below, shape
    (runs, looks)."""
    rules = msgspec.structs.replace(RULES, minimum_rows=1, minimum_windows=1, longest="1000d")
    ends = [_first_end(*looks) for looks in zip(promoted, stopped, strict=True)]
    few = [run for run, (_, said) in enumerate(ends) if said == verdict][:3]
    assert len(few) == 3, f"no three runs end with {verdict}"
    for run in few:
        losses = (part.reshape(*promoted.shape, -1)[run] for part in (champion, challenger))
        last = trail(list(zip(*losses, strict=True)), rules)[-1]
        assert (last.number, last.verdict) == ends[run]


def test_the_average_that_moves_with_the_past_is_covered_at_all_times() -> None:
    """Zeros and ones whose expectation depends on the rows before: no row is independent of the others, and the limits
    are about the average of the expectations so far, which is known here exactly."""
    rng = np.random.default_rng(5)
    runs, looks, rows = 1000, 50, 40
    x = np.empty((runs, looks * rows))
    expected = np.empty_like(x)
    streak = np.zeros(runs)
    for at in range(looks * rows):
        expected[:, at] = 0.5 + 0.4 * np.tanh(streak)
        x[:, at] = rng.random(runs) < expected[:, at]
        streak = 0.8 * streak + 0.3 * (x[:, at] - 0.5)
    until = rows * np.arange(1, looks + 1)
    average = expected.cumsum(axis=1)[:, until - 1] / until
    line = math.log(20.0)
    assert (_capitals(x, looks, average) >= line).any(axis=1).sum() < 50
    assert (_capitals(1.0 - x, looks, 1.0 - average) >= line).any(axis=1).sum() < 50


def test_nothing_is_decided_before_there_are_enough_rows_and_windows() -> None:
    far = np.full(400, 1.0), np.zeros(400)
    rules = msgspec.structs.replace(RULES, minimum_rows=1000, minimum_windows=5)
    looks = trail([far] * 8, rules)
    assert [said.reason for said in looks] == ["insufficient"] * 4 + ["better"]
    assert trail([far] * 8, msgspec.structs.replace(rules, most_rows=1200))[-1].reason == "most_rows"


def test_windows_without_a_row_say_that_there_is_nothing_and_end_with_the_time() -> None:
    state, said = look(started(), cohort(0, np.empty(0), np.empty(0)), RULES)
    assert (said.verdict, said.improvement, said.low) == ("watch", None, None)
    assert "nothing to compare yet" in said.sentence
    state = skip(state, 29 * DAY)
    state, said = look(state, cohort(29, np.empty(0), np.empty(0)), RULES)
    assert (said.verdict, said.reason) == ("stop", "longest")
    with pytest.raises(ValueError, match="taken in already"):
        look(state, cohort(3, np.empty(0), np.empty(0)), RULES)


def test_losses_out_of_their_bound_are_refused() -> None:
    with pytest.raises(ValueError, match=r"losses in \[0, 1\]"):
        look(started(), cohort(0, np.array([4.0]), np.array([0.0])), RULES)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["paired", "arms"]))
def test_order_encoding_and_resumption_change_no_bit(seed: int, days: int, design: Design) -> None:
    rng = np.random.default_rng(seed)
    rules = msgspec.structs.replace(RULES, canary=CANARY)
    straight, resumed = started(rules, design), started(rules, design)
    for day in range(days):
        rows = int(rng.integers(0, 60))
        first, second = scores(rng, rows, 0.1)
        other = rng.permutation(rows)
        ratio = (rows, rows)
        straight, said = look(straight, cohort(day, first, second, ratio), rules)
        # A process that died here goes on from what was stored.
        stored = msgspec.json.decode(msgspec.json.encode(resumed), type=ComparisonState)
        resumed, again = look(stored, cohort(day, first[other], second[other], ratio), rules)
        assert msgspec.json.encode(again) == msgspec.json.encode(said)
        assert msgspec.json.encode(resumed) == msgspec.json.encode(straight)


def test_arms_advance_abort_and_hold() -> None:
    rules = msgspec.structs.replace(RULES, canary=CANARY)
    rng = np.random.default_rng(6)
    # Differences of 0.4 against 0.1 are seen in unpaired losses too.
    low, high = (np.clip(rng.normal(mean, 0.1, 5000), 0.0, 1.0) for mean in (0.1, 0.4))
    better = trail([(high[i : i + 250], low[i : i + 250]) for i in range(0, 5000, 250)], rules, "arms")
    assert (better[0].rows, better[0].reason) == (0, "insufficient")  # the window in which the router began
    assert (better[-1].verdict, better[-1].reason) == ("promote", "better")
    worse = trail([(low[i : i + 250], high[i : i + 250]) for i in range(0, 5000, 250)], rules, "arms")
    assert (worse[-1].verdict, worse[-1].reason) == ("stop", "worse")
    # The same better challenger in an arm of a fifth where a half was planned: nothing is decided.
    held = trail([(high[i : i + 250], low[i : i + 60]) for i in range(0, 5000, 250)], rules, "arms")
    assert {said.verdict for said in held[2:]} == {"hold"}
    assert "the arms are not comparable" in held[-1].sentence


class Arms:
    """Runs of two arms with losses of 0 and 1: how many ones of ``rows`` each look brings, shape (runs, looks), and
    which looks say what, from the capitals of both arms at alpha / 2."""

    def __init__(self, seed: int, runs: int, looks: int, champion: float, challenger: float, rows: int = 100) -> None:
        rng = np.random.default_rng(seed)
        self.rows, self.line = rows, math.log(2.0 / RULES.alpha)
        self.ones = tuple(rng.binomial(rows, mean, (runs, looks)).astype(np.float64) for mean in (champion, challenger))

    def above(self, arm: int, m: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where the lower limit of the arm's mean is above ``m``."""
        return _capitals_of(self.rows, self.ones[arm], self.ones[arm], m) >= self.line

    def below(self, arm: int, m: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where the upper limit of the arm's mean is below ``m``."""
        zeros = self.rows - self.ones[arm]
        return _capitals_of(self.rows, zeros, zeros, 1.0 - m) >= self.line

    def apart(self, upper: int, lower: int) -> NDArray[np.bool_]:
        """Where the one arm's lower limit is above the other's upper limit: the first by bisection."""
        until = self.rows * np.arange(1, self.ones[0].shape[1] + 1)
        inside = self.ones[upper].cumsum(axis=1) / until
        outside = np.zeros_like(inside)
        for _ in range(40):
            middle = 0.5 * (inside + outside)
            above = self.above(upper, middle)
            inside, outside = np.where(above, inside, middle), np.where(above, middle, outside)
        return self.below(lower, outside) & (outside > 0.0)

    def verdict_of_the_engine(self, run: int) -> tuple[int, str]:
        """Look and verdict with which the engine ends; its first look, in which the router began, is not counted."""
        rules = msgspec.structs.replace(RULES, canary=CANARY, minimum_rows=1, minimum_windows=1, longest="1000d")
        cohorts = [
            tuple((np.arange(self.rows) < ones[run, at]) * 1.0 for ones in self.ones)
            for at in [0, *range(self.ones[0].shape[1])]
        ]
        last = trail(cohorts, rules, "arms")[-1]  # type: ignore[arg-type]
        return last.number - 1, last.verdict


def test_arms_of_equally_good_models_are_promoted_in_fewer_than_alpha_of_1000_runs_at_100_looks() -> None:
    runs, mean = 1000, 0.3
    same = Arms(7, runs, 100, mean, mean)
    # Each limit of each arm is wrong at some look in fewer than alpha / 2 of the runs: that is what the rest stands on.
    wrong = {(arm, side): getattr(same, side)(arm, mean).any(axis=1) for arm in (0, 1) for side in ("above", "below")}
    for missed in wrong.values():
        assert 0 < missed.sum() < RULES.alpha / 2.0 * runs
    promoted, stopped = same.apart(0, 1), same.apart(1, 0)
    assert promoted.any(axis=1).sum() < RULES.alpha * runs
    # No run is decided in which no limit is wrong.
    assert not (promoted.any(axis=1) & ~(wrong[0, "above"] | wrong[1, "below"])).any()
    few = [*np.flatnonzero(wrong[0, "above"] | wrong[1, "below"])[:2], *np.flatnonzero(~wrong[0, "above"])[:2]]
    for run in few:
        assert same.verdict_of_the_engine(run) == _first_end(promoted[run], stopped[run])


def test_arms_that_differ_are_told_apart_at_the_look_where_their_limits_part() -> None:
    """So the test above is not one of a test that never speaks; the engine ends where the capitals say, not later."""
    for means, verdict in (((0.3, 0.2), "promote"), ((0.2, 0.3), "stop")):
        runs = Arms(8, 100, 40, *means)
        promoted, stopped = runs.apart(0, 1), runs.apart(1, 0)
        ends = [_first_end(*looks) for looks in zip(promoted, stopped, strict=True)]
        assert np.mean([said == verdict for _, said in ends]) > 0.9
        assert len({at for at, _ in ends}) > 5
        for run in range(6):
            assert runs.verdict_of_the_engine(run) == ends[run]


def test_the_losses_of_each_task_have_their_bound() -> None:
    binary = bounded_loss("binary", "log_loss", None)
    assert binary is not None
    found = binary.rows("binary", np.array([1.0, 0.0, 0.5, math.inf]), np.array([1, 1, 0, 0]), 0.5)
    assert found.tolist() == pytest.approx([0.0, -math.log(0.001), math.log(2.0), -math.log(0.001)])
    error = bounded_loss("binary", "error", None)
    assert error is not None
    assert error.rows("binary", np.array([0.5, 0.49]), np.array([1, 1]), 0.5).tolist() == [0.0, 1.0]
    several = bounded_loss("multiclass", "brier", None)
    assert several is not None
    found = several.rows("multiclass", np.array([[1.0, 0.0], [1.0, 0.0], [np.nan, 0.0]]), np.array([0, 1, 0]), 0.5)
    assert found.tolist() == [0.0, 1.0, 1.0]
    minutes = bounded_loss("regression", "absolute_error", 30.0)
    assert minutes is not None
    assert minutes.rows("regression", np.array([5.0, 1e308, np.nan]), np.array([2.0, -1e308, 0.0]), 0.5).tolist() == [
        3.0,
        30.0,
        30.0,
    ]
    squared = bounded_loss("regression", "squared_error", 30.0)
    assert squared is not None
    assert squared.rows("regression", np.array([5.0, 100.0]), np.array([2.0, 0.0]), 0.5).tolist() == pytest.approx(
        [9.0, 900.0]
    )
    assert bounded_loss("regression", "absolute_error", None) is None
    assert bounded_loss("regression", "squared_error", 1e200) is None

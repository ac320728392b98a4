"""Labels by score band: exact counts, and whether labels come for other scores than before."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.reports import QualityReport
from driftloop.performance.label_coverage import CoverageHistory, _falls, judge_coverage
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.score_bands import ScoreBands, band_edges, band_scores
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import QualityRules

EDGES = tuple(tenth / 10 for tenth in range(1, 10))
RULES = QualityRules()


def profile(scores: np.ndarray) -> ReferenceProfile:  # type: ignore[type-arg]
    reference = NumericReference.build(scores)
    return ReferenceProfile(model_id="m", model_version="v1", features={PREDICTION: reference}, rows=scores.size)


def window(rows: int, shares: float | list[float], seed: int) -> ScoreBands:
    """A window of uniform scores of which so many of each band have a label."""
    chance = np.random.default_rng(seed)
    scores = chance.random(rows)
    band = np.searchsorted(EDGES, scores, side="left")
    given = chance.random(rows) < np.broadcast_to(shares, 10)[band]
    bands = ScoreBands(EDGES)
    bands.add_predicted(scores)
    bands.add_labeled(scores[given], 1)
    return bands


def history(shares: float | list[float], windows: int = 8, rows: int = 2_000) -> CoverageHistory:
    known = CoverageHistory()
    sound = judge_coverage(window(rows, shares, 0), known, RULES)
    for seed in range(windows):
        known = known.after(window(rows, shares, 1_000 + seed), sound)
    return known


def judged(bands: ScoreBands, known: CoverageHistory, rules: QualityRules = RULES) -> QualityReport:
    found = judge_coverage(bands, known, rules)
    assert found is not None
    return found


def test_bands_are_tenths_of_the_references_scores() -> None:
    scores = np.random.default_rng(5).beta(0.3, 4.0, 20_000)
    edges = band_edges("binary", profile(scores))
    counts = ScoreBands(edges)._count(scores)
    assert len(edges) == 9
    between_anchors = 20_000 / 511  # no limit is off by more than the rows from one anchor to the next
    assert np.all(np.abs(counts - 2_000) <= between_anchors), counts
    few = band_edges("binary", profile(np.array([0.2, 0.2, 0.5, 0.5, 0.5, 0.9])))
    assert few == (0.2, 0.5)
    assert band_edges("binary", profile(np.array([0.4, 0.4]))) == ()
    assert band_edges("ranking", profile(scores)) == ()
    empty = msgspec.structs.replace(profile(scores), features={})
    assert band_edges("regression", empty) == ()
    assert band_edges("multiclass", empty) == EDGES
    assert band_scores("multiclass", np.array([[0.2, 0.8], [0.6, 0.4]])).tolist() == [0.8, 0.6]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.integers(1, 5), st.randoms())
def test_any_split_and_any_order_give_the_same_bytes(
    rows: list[tuple[float, bool]], parts: int, chance: object
) -> None:
    def stats(of: list[tuple[float, bool]]) -> OutcomeStats:
        made = OutcomeStats("binary", bands=EDGES)
        scores = np.array([score for score, _ in of])
        made.add_predicted(len(of), scores=scores)
        labeled = scores[[there for _, there in of]] if of else scores
        made.update(labeled, np.zeros(len(labeled), np.int64), np.zeros(len(labeled), np.int64))
        return made

    whole = stats(rows)
    pieces = [stats(rows[part::parts]) for part in range(parts)]
    chance.shuffle(pieces)
    total = OutcomeStats("binary", bands=EDGES)
    for piece in pieces:
        total.merge(OutcomeStats.decode(piece.encode(), OutcomeStats("binary", bands=EDGES)))
    assert total.encode() == whole.encode()
    assert total == whole


def test_a_correction_leaves_the_counts_as_they_were() -> None:
    stats = OutcomeStats("binary", bands=EDGES)
    score, label, delay = np.array([0.35]), np.array([1]), np.array([5])
    stats.add_predicted(1, scores=score)
    stats.update(score, label, delay)
    stats.update(score, label, delay, -1)
    stats.update(score, 1 - label, delay)
    assert stats.bands is not None
    assert stats.bands.labeled.tolist() == stats.bands.predicted.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_what_has_no_bands_or_others_leaves_none() -> None:
    stats = OutcomeStats("binary", bands=EDGES)
    stats.merge(OutcomeStats("binary", bands=(0.5,)))
    assert stats.bands is None
    stats = OutcomeStats("binary", bands=EDGES)
    stats.add_predicted(2)
    assert stats.bands is None, "predictions without their scores"
    older = OutcomeStats("binary").encode()
    assert OutcomeStats.decode(older, OutcomeStats("binary", bands=EDGES)).bands is None
    others = OutcomeStats("binary", bands=(0.5,)).encode()
    assert OutcomeStats.decode(others, OutcomeStats("binary", bands=EDGES)).bands is None


def test_labels_that_stay_away_for_high_scores_are_found() -> None:
    known = history(0.8)
    said = judged(window(2_000, [0.8] * 9 + [0.3], 7), known)
    assert said.decision == "broken"
    assert said.statistic == pytest.approx(0.6, abs=0.1)
    assert said.sentence.startswith("of the predictions with scores above 0.9 3")
    assert "from 8 earlier windows and the other scores" in said.sentence
    assert not said.breaks_inputs


def test_labels_that_come_for_high_scores_alone_are_found() -> None:
    said = judged(window(2_000, [0.05] * 9 + [0.9], 7), history(0.8))
    assert said.decision == "broken"


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9, 1.0])
def test_an_outage_of_labels_and_an_end_of_it_are_no_shift(share: float) -> None:
    usual = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.5, 0.5, 0.3]
    now = [share * part for part in usual] if share < 1.0 else [1.0] * 10
    assert judged(window(5_000, now, 3), history(usual, rows=5_000)).decision != "broken"


def test_a_small_shift_is_none() -> None:
    said = judged(window(200_000, [0.8] * 9 + [0.7], 7), history(0.8, rows=20_000))
    assert said.p_value is not None
    assert said.p_value < 1e-6
    assert said.decision == "ok"
    strict = QualityRules(label_coverage=0.1)
    assert judged(window(200_000, [0.8] * 9 + [0.7], 7), history(0.8, rows=20_000), strict).decision == "broken"


def test_few_windows_few_rows_and_no_labels_say_nothing() -> None:
    bands = window(2_000, 0.1, 1)
    assert judged(bands, history(0.8, windows=2)).decision == "insufficient"
    assert judged(window(200, 0.1, 1), history(0.8)).decision == "insufficient"
    assert judged(window(2_000, 0.0, 1), history(0.8)).decision == "insufficient"
    assert judged(window(2_000, 0.5, 1), history(0.0)).decision == "insufficient"
    assert judged(ScoreBands(EDGES), history(0.8)).decision == "insufficient"


def test_it_can_be_switched_off() -> None:
    bands, known = window(2_000, [0.8] * 9 + [0.3], 7), history(0.8)
    assert judge_coverage(bands, known, QualityRules(label_coverage=None)) is None
    assert judge_coverage(bands, known, QualityRules(enabled=False)) is None
    assert judge_coverage(None, known, RULES) is None


def test_a_shift_is_not_learned_as_usual() -> None:
    known = history(0.8)
    for seed in range(12):
        bands = window(2_000, [0.8] * 9 + [0.3], seed)
        said = judged(bands, known)
        assert said.decision == "broken"
        known = known.after(bands, said)
    assert len(known.windows) == 8
    read = msgspec.json.decode(msgspec.json.encode(known), type=CoverageHistory)
    assert judged(bands, read) == said


def test_windows_of_other_bands_are_not_compared_with() -> None:
    other = CoverageHistory([([500, 500], [400, 400])] * 8)
    assert judged(window(2_000, 0.8, 1), other).decision == "insufficient"


@pytest.mark.parametrize("share", [0.03, 0.3, 0.97])
def test_false_alarms(share: float) -> None:
    """Windows of 1,000 rows whose labels are missing by chance: fewer alarms than the significance, whatever is
    labeled, since the effect must be there too."""
    alarms = 0
    for seed in range(400):
        known = history(share, windows=4, rows=1_000) if seed % 100 == 0 else known  # noqa: F821
        alarms += judged(window(1_000, share, seed), known).decision == "broken"
    assert alarms <= 2, f"{alarms} of 400"


@pytest.mark.parametrize("shares", [0.3, 0.8, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.5, 0.5, 0.3]])
def test_p_values_of_unchanged_windows_are_uniform_where_it_matters(shares: float | list[float]) -> None:
    """1,500 bands of about 100 rows each, against four windows: one in twenty is below 0.05."""
    p_values: list[float] = []
    for story in range(30):
        before = [window(1_000, shares, 50_000 + story * 10 + number) for number in range(4)]
        sums = [sum(getattr(bands, part) for bands in before).tolist() for part in ("predicted", "labeled")]
        for number in range(5):
            now = window(1_000, shares, story * 5 + number)
            p_values += [fall.p_value for fall in _falls(now.predicted.tolist(), now.labeled.tolist(), *sums)]
    assert len(p_values) == 1_500
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.07

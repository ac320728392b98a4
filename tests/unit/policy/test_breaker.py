"""When the breaker holds: challengers in a row that failed the same gate."""

from __future__ import annotations

from driftloop.policy.breaker import MANUAL, Attempt, what_broke


def attempt(version: str, *failed: str, promoted: bool = False, trigger: str = "drift") -> Attempt:
    return Attempt(version=version, failed_gates=frozenset(failed), promoted=promoted, trigger=trigger)


def test_so_many_in_a_row_at_the_same_gate() -> None:
    story = [attempt("v1", promoted=True), attempt("v2", "sanity"), attempt("v3", "metric:auc", "sanity")]
    assert what_broke(story, 3) is None
    story.append(attempt("v4", "sanity"))
    said = what_broke(story, 3)
    assert said is not None
    assert said.startswith(
        "the last 3 challengers (v2, v3, v4) failed the gate sanity, so nothing is trained by itself"
    )
    assert "driftloop retrain" in said
    assert what_broke([*story, attempt("v5", "sanity")], 3) is not None
    assert what_broke(story, 4) is None


def test_different_gates_are_no_row() -> None:
    assert what_broke([attempt("v2", "a"), attempt("v3", "b"), attempt("v4", "a")], 3) is None
    assert what_broke([attempt("v1", "a"), attempt("v2", "b"), attempt("v3", "a", "b"), attempt("v4", "b")], 3)


def test_a_challenger_that_passed_or_serves_ends_the_row() -> None:
    broken = [attempt("v2", "a"), attempt("v3", "a")]
    assert what_broke([*broken, attempt("v4")], 2) is None
    assert what_broke([*broken, attempt("v4"), attempt("v5", "a")], 2) is None
    # A person promoted it although it had failed.
    assert what_broke([*broken, attempt("v4", "a", promoted=True), attempt("v5", "a")], 2) is None


def test_a_person_who_asks_begins_a_new_row() -> None:
    story = [attempt("v2", "a"), attempt("v3", "a"), attempt("v4", "a", trigger=MANUAL)]
    assert what_broke(story, 2) is None
    assert what_broke([*story, attempt("v5", "a")], 2) is not None


def test_what_could_not_be_judged_yet_neither_counts_nor_ends_a_row() -> None:
    def undecided(version: str, *failed: str, trigger: str = "drift") -> Attempt:
        return Attempt(version, frozenset(failed), False, trigger, undecided_gates=frozenset({"metric:auc"}))

    assert what_broke([undecided(f"v{number}") for number in range(2, 9)], 1) is None
    between = what_broke([attempt("v2", "a"), undecided("v3"), attempt("v4", "a")], 2)
    assert between is not None
    assert "(v2, v4)" in between
    # It has failed another gate, which was judged.
    assert what_broke([attempt("v2", "a"), undecided("v3", "a")], 2) is not None
    assert what_broke([undecided("v2", "a"), undecided("v3", "b")], 2) is None
    # A person asked for it: the row begins anew there all the same.
    assert what_broke([attempt("v2", "a"), undecided("v3", trigger=MANUAL), attempt("v4", "a")], 2) is None


def test_one_failure_is_enough_where_it_is_asked_for_and_none_is_none() -> None:
    assert what_broke([], 1) is None
    said = what_broke([attempt("v2", "a", "b")], 1)
    assert said is not None
    assert said.startswith("the last challenger (v2) failed the gate a, b")

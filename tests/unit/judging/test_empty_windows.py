"""Which windows without a row are reported, whenever somebody asks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftloop.judging.empty import empty_window_ends


def ends(last: int | None, final: list[int], until: int, *, quiet: int = 0, limit: int = 3) -> list[int]:
    return empty_window_ends(
        window_ms=10, last_end_ms=last, quiet=quiet, limit=limit, final_ends_ms=final, until_ms=until
    )


def test_between_windows_and_after_the_last_one() -> None:
    assert ends(20, [50], 65) == [30, 40, 60]
    assert ends(20, [], 29) == []
    assert ends(20, [30, 40], 40) == []


def test_a_model_that_has_not_begun_misses_nothing() -> None:
    assert ends(None, [], 10**9) == []
    assert ends(None, [500, 530], 530) == [510, 520]


def test_a_model_that_stopped_is_left_alone_until_it_comes_back() -> None:
    assert ends(20, [], 10**12) == [30, 40, 50]
    assert ends(50, [], 10**12, quiet=3) == []
    assert ends(50, [1000], 1015, quiet=3) == [1010]
    assert ends(20, [], 10**12, limit=0) == []


def test_another_window_length_goes_on_after_the_last_end() -> None:
    assert ends(25, [], 45) == [40]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 5))
def test_when_it_is_asked_for_changes_nothing(has_rows: list[bool], asked_at: list[int], limit: int) -> None:
    """Watermarks that come in other steps find the same empty windows."""

    def found(steps: list[int]) -> list[int]:
        last, quiet, empty = None, 0, []
        done = 0
        for step in steps:
            final = [10 * index + 10 for index in range(done, step) if has_rows[index]]
            new = ends(last, final, 10 * step, quiet=quiet, limit=limit)
            for end in sorted([*final, *new]):  # as judging goes on from one to the next
                skipped = 0 if last is None else (end - last) // 10 - 1
                quiet = 0 if end in final else quiet + skipped + 1
                last = end
            empty += new
            done = step
        return empty

    steps = sorted(min(step, len(has_rows)) for step in asked_at)
    assert found([*steps, len(has_rows)]) == found([len(has_rows)])

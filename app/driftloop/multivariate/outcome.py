"""What a method finds, and how its bits are kept apart from the machine's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Effect", "one_thread", "rounded"]


class Effect(NamedTuple):
    """An effect size and the p-value of no change; None where they are not defined. ``detail`` says more to people."""

    size: float | None
    p_value: float | None
    detail: str = ""


def rounded(value: float | None) -> float | None:
    """To nine significant digits: sums of linear algebra depend on the machine in their last digits.

    >>> rounded(0.1 + 0.2)
    0.3
    """
    return None if value is None else float(f"{value:.9g}")


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra and trees with one thread: how sums are split over threads would change their last bits."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        yield

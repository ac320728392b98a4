"""What every change detector is: settings and state in one Struct, values in, alarms out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["Detector", "Mean", "as_times"]


class Mean(Struct):
    """A running mean by West's update; ``n`` 0 stands for none yet.

    Reference: D. H. D. West, "Updating mean and variance estimates: an improved method", CACM 22(9), 1979.
    """

    n: float = 0.0
    value: float = 0.0

    def update(self, x: float) -> None:
        self.n += 1.0
        self.value += (1.0 / self.n) * (x - self.value)

    def copy(self) -> Mean:
        return Mean(self.n, self.value)


class Detector(Struct, kw_only=True, tag_field="detector"):
    """A change detector. Its fields are its settings and its whole state: encoded as JSON (no NaN, no infinity is ever
    kept) and decoded at any point, it goes on as if nothing had happened.

    ``n``: values since the last (re)start. ``detected``: the last :meth:`update` raised an alarm; ``warning``: it ended
    in the warning zone. ``changed_at``: when, by the last alarm, the change began, in the unit of the times handed in.
    ``rose``: whether that change was to higher values. ``anew``: an alarm came before the last :meth:`update`, which
    had no value, so that the restart is still to be made.
    """

    n: int = 0
    seen: int = 0
    detected: bool = False
    warning: bool = False
    changed_at: int | None = None
    rose: bool = True
    anew: bool = False

    def update(self, values: NDArray[np.float64] | Sequence[float], times: Sequence[int] | None = None) -> list[int]:
        """Take in values of shape (n,), in order, and give the positions at which an alarm was raised.

        ``times`` has a non-decreasing integer for each value; left out, values are numbered from 0 on over the
        detector's life. After an alarm the detector starts anew with the next value, in the same batch too. Cutting a
        stream into other batches changes no alarm. Raises ``ValueError``, before anything is taken in, for NaN and
        infinite values and for unequal lengths.
        """
        numbers = _checked(values)
        marks = as_times(times, len(numbers), self.seen)
        alarms = []
        for position, (x, at) in enumerate(zip(numbers, marks, strict=True)):
            if self.detected or self.anew:
                self._restart()
            self.n += 1
            self.detected = self._step(x, at)
            if self.detected:
                alarms.append(position)
        self.seen += len(numbers)
        if not numbers:
            self._take_nothing()
        return alarms

    def _take_nothing(self) -> None:
        """There was no value, and so no alarm; one from before holds for the next value."""
        self.anew = self.anew or self.detected
        self.detected = False

    def _step(self, x: float, at: int) -> bool:
        raise NotImplementedError

    def _restart(self) -> None:
        """Forget everything but settings, the count of values ever seen, and the last estimate of a change."""
        for name, value in self.fresh_state().items():
            setattr(self, name, value)
        self.n = 0
        self.detected = self.warning = self.anew = False

    def fresh_state(self) -> dict[str, object]:
        """The fields that a restart resets, with their first values."""
        raise NotImplementedError

    @property
    def statistic(self) -> float | None:
        """What is compared with :attr:`threshold`; None while there is nothing to compare."""
        return None

    @property
    def threshold(self) -> float | None:
        """The bound from which on there is an alarm, where it is one number."""
        return None

    @property
    def estimate(self) -> float | None:
        """The detector's estimate of the current mean, in the unit of the values; None where it has none."""
        return None


def _checked(values: NDArray[np.float64] | Sequence[float]) -> list[float]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"a detector takes values of shape (n,), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a detector takes finite numbers; at least one value is NaN or infinite: leave such rows out")
    numbers: list[float] = array.tolist()
    return numbers


def as_times(times: Sequence[int] | None, count: int, start: int) -> Sequence[int]:
    """The times handed in, or consecutive numbers from ``start`` on."""
    if times is None:
        return range(start, start + count)
    if len(times) != count:
        raise ValueError(f"values and times must be equally many, got {count} and {len(times)}")
    return times

"""Rows of a model's history for the tests of whole loops, and what may happen to them.

A history is stable: ``x``, ``colour`` and ``noise`` never change, the label hangs on the first two, and the version in
production says the true probability. A story changes what its test is about, and nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["History", "Story", "labels_reversed", "make_history", "scores_dull", "stable"]


@dataclass
class History:
    """n rows in order of time. ``day`` counts from 1, ``part`` is how much of the history lies before the row (0 to 1),
    ``said`` the live prediction; ``labeled``: whether a label comes."""

    day: NDArray[np.int64]
    part: NDArray[np.float64]
    x: NDArray[np.float64]
    colour: NDArray[np.object_]
    noise: NDArray[np.float64]
    labels: NDArray[np.int64]
    said: NDArray[np.float64]
    labeled: NDArray[np.bool_]
    chance: np.random.Generator

    def __len__(self) -> int:
        return len(self.day)

    @property
    def red(self) -> NDArray[np.bool_]:
        return np.asarray(self.colour == "red")


Story = Callable[[History], None]


def make_history(name: str, days: int, per_day: int, story: Story) -> History:
    """The rows depend on the name alone, so no two models have the same."""
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    rows = days * per_day
    x, noise = chance.normal(size=rows), chance.normal(size=rows)
    colour = chance.choice(["red", "green", "blue"], rows).astype(object)
    truth = 1 / (1 + np.exp(-(2 * x + 1.2 * (colour == "red") - 0.4)))
    history = History(
        day=np.repeat(np.arange(1, days + 1), per_day),
        part=np.arange(rows) / rows,
        x=x,
        colour=colour,
        noise=noise,
        labels=(chance.random(rows) < truth).astype(np.int64),
        said=truth,
        labeled=np.ones(rows, dtype=np.bool_),
        chance=chance,
    )
    story(history)
    return history


def stable(rows: History) -> None:
    """Nothing happens."""


def scores_dull(rows: History) -> None:
    """The version in production knows nothing."""
    rows.said[:] = 0.5


def labels_reversed(from_day: int) -> Story:
    """From that day on the world is the opposite of what it was."""

    def story(rows: History) -> None:
        rows.labels = np.where(rows.day >= from_day, 1 - rows.labels, rows.labels)

    return story


def scores_unsure(from_day: int) -> Story:
    """From that day on the version in production can hardly tell one row from another."""

    def story(rows: History) -> None:
        rows.said = np.where(rows.day >= from_day, 0.5 + 0.02 * (rows.said - 0.5), rows.said)

    return story


def shifted(by: float, from_day: int, *, noise: bool = True) -> Story:
    """Numeric features move by so many standard deviations."""

    def story(rows: History) -> None:
        rows.x = rows.x + by * (rows.day >= from_day)
        rows.noise = rows.noise + by * (rows.day >= from_day) * noise

    return story


def missing_then_shifted(missing_day: int) -> Story:
    """Upstream loses a column for a day; from the next day on the world itself has moved."""

    def story(rows: History) -> None:
        shifted(3.0, missing_day + 1)(rows)
        rows.x[(rows.day == missing_day) & (rows.chance.random(len(rows)) < 0.9)] = np.nan

    return story


def missing_and_dull(missing_day: int) -> Story:
    """Upstream loses a column for a day, and the version in production cannot tell its rows apart."""

    def story(rows: History) -> None:
        that_day = rows.day == missing_day
        rows.x[that_day & (rows.chance.random(len(rows)) < 0.9)] = np.nan
        rows.said = np.where(that_day, rows.chance.uniform(0.49, 0.51, len(rows)), rows.said)

    return story


def labels_of_few_high_scores(on_day: int) -> Story:
    """Labels come for eight in ten; on one day for one in ten of the highest scores."""

    def story(rows: History) -> None:
        highest = rows.said > np.quantile(rows.said, 0.9)
        rows.labeled = rows.chance.random(len(rows)) < np.where(highest & (rows.day == on_day), 0.1, 0.8)

    return story


def labels_shuffled(before: float) -> Story:
    """What is learned has nothing to do with its labels; later rows are sound."""

    def story(rows: History) -> None:
        learned = np.flatnonzero(rows.part < before)
        rows.labels[learned] = rows.labels[rows.chance.permutation(learned)]

    return story


def label_leaked(rows: History) -> None:
    """A column holds the label when the row is kept. The version in production knows nothing."""
    rows.noise = rows.labels.astype(np.float64)
    scores_dull(rows)


def slice_broken(before: float) -> Story:
    """Labels of one slice, about a sixth of the rows, are the wrong way round in what is learned. The version in
    production knows nothing."""

    def story(rows: History) -> None:
        rows.colour[rows.red & (rows.chance.random(len(rows)) < 0.45)] = "green"
        rows.labels = np.where(rows.red & (rows.part < before), 1 - rows.labels, rows.labels)
        scores_dull(rows)

    return story


def label_by_colour(rows: History) -> None:
    """One group never gets what the others always get."""
    rows.labels = (~rows.red).astype(np.int64)
    scores_dull(rows)


def base_rate_moved(before: float) -> Story:
    """Labels hang on nothing; their rate is 30 % in what is learned and 80 % later."""

    def story(rows: History) -> None:
        rate = np.where(rows.part < before, 0.3, 0.8)
        rows.labels = (rows.chance.random(len(rows)) < rate).astype(np.int64)

    return story


def no_event(rows: History) -> None:
    """Every label is 0."""
    rows.labels[:] = 0

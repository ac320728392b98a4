"""What both models of a comparison say about a window's rows: a pure function of the rows and the models.

Whoever calls the models (:class:`Scorer`) may lose a process to them; what they say depends on the window alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.dataset import TrainingSet
from driftloop.training.estimators import predict
from driftloop.training.limits import too_large

__all__ = ["ComparisonImpossible", "Scored", "Scorer", "WindowScores", "compared_rows", "score_windows"]

Floats = NDArray[np.float64]


class ComparisonImpossible(ValueError):
    """The two versions cannot be compared, however long one waits. The message says why."""


@dataclass(frozen=True, eq=False)
class WindowScores:
    """Of one window. ``challenger`` (n,) or (n, k): of the n rows that :func:`compared_rows` leaves. ``champion``: of
    those among them that another version served, in the same order; None: there is no champion's model."""

    challenger: Floats
    champion: Floats | None


@dataclass(frozen=True)
class Scored:
    """The first so many of the windows that were handed over. ``problem``: why the next one has no scores, None if all
    have. ``champion_error``: why the champion's model file is not used."""

    windows: Sequence[WindowScores] = field(default=())
    problem: str | None = None
    champion_error: str | None = None


class Scorer(Protocol):
    """Has the rows of windows, none of them empty and in order of time, scored by two model files."""

    def __call__(
        self,
        spec: ModelSpec,
        windows: Sequence[TrainingSet],
        *,
        champion: str,
        champion_file: bytes | None,
        challenger: str,
        challenger_file: bytes,
        cancelled: Callable[[], bool],
    ) -> Scored:
        """``champion`` and ``challenger``: the versions. Raises
        :class:`~driftloop.training.child.TrainingCancelled` once ``cancelled()`` says so."""


def compared_rows(data: TrainingSet, champion: str, *, has_model: bool) -> TrainingSet:
    """All, or without a champion's model those that the champion itself served."""
    return data if has_model else data.rows(np.flatnonzero(_recorded(data, champion)))


def _recorded(data: TrainingSet, champion: str) -> NDArray[np.bool_]:
    return np.asarray(data.versions == champion, bool)


def score_windows(
    spec: ModelSpec,
    windows: Iterable[TrainingSet],
    champion: str,
    champion_model: Pipeline | None,
    challenger_model: Pipeline,
) -> Iterator[WindowScores]:
    """One window after the other, each in one call of a model, so that the rows of a call are the same whatever
    batches they came in. Raises :class:`ComparisonImpossible` if a model cannot score the rows."""
    for data in windows:
        rows = compared_rows(data, champion, has_model=champion_model is not None)
        theirs = rows.rows(np.flatnonzero(~_recorded(rows, champion)))
        yield WindowScores(
            champion=None if champion_model is None else _score(champion_model, spec, theirs, "champion"),
            challenger=_score(challenger_model, spec, rows, "challenger"),
        )


def _score(model: Pipeline, spec: ModelSpec, data: TrainingSet, name: str) -> Floats:
    if not len(data):
        return np.empty((0, len(spec.classes)) if spec.task == "multiclass" else 0)
    asked = f"the {name}'s model file was asked for the scores of {len(data):,} rows"
    progress.phase(asked)
    try:
        return predict(model, spec, data.frame)
    except MemoryError:
        limit = spec.training.memory_limit_bytes
        if limit is None:
            raise
        raise ComparisonImpossible(f"{asked}: {too_large(limit, 'scoring')}") from None
    except Exception as error:  # whatever a foreign pipeline raises on rows that it does not know
        raise ComparisonImpossible(
            f"the {name}'s model file cannot score the recorded features ({type(error).__name__}: {error})"
        ) from error

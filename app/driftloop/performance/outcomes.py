"""What became of a window's predictions: mergeable sums from which every realised metric is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.events.decoding import DAMAGED
from driftloop.performance.arrivals import Arrivals
from driftloop.performance.binary import BinarySums
from driftloop.performance.delays import DelayHistogram
from driftloop.performance.loss_bins import LossBins, LossSettings
from driftloop.performance.losses import losses_of
from driftloop.performance.metrics import MetricValue
from driftloop.performance.outcome_wire import OutcomeWire, read_outcomes, write_outcomes
from driftloop.performance.score_bands import ScoreBands, band_scores
from driftloop.performance.task_sums import add_rows, confusion_of, metric_names, new_sums
from driftloop.spec.basics import Task
from driftloop.spec.metrics import direction_of
from driftloop.spec.model import ModelSpec, ValueSpec

__all__ = ["OutcomeStats"]


class OutcomeStats:
    """Statistics of predictions and their labels, the same to the last bit in any order and any split of the rows.

    ``classes`` counts for multiclass alone, ``decision_threshold`` and ``score_bins`` (a power of two from 64) for
    binary, ``center`` (a finite number near the labels) for regression, ``cutoffs`` for ranking. Binary alone has
    ``exact_rows`` (scores of up to so many rows are kept as they are) and ``value`` (what each outcome is worth). Only
    statistics with the same settings merge.

    ``losses``: also keep the losses by time of prediction, for concept drift; what is merged with statistics that do
    not have them, or have them by other settings, has none (None). ``bands``: limits between bands of scores, to count
    in which of them labels come; () counts none. What is added without scores, or merged with statistics that have
    other bands, has none (None).

    >>> stats = OutcomeStats("binary")
    >>> stats.add_predicted(3)
    >>> stats.update(np.array([0.9, 0.2]), np.array([1, 0]), np.array([60_000, 90_000]))
    >>> stats.coverage, stats.metrics()["accuracy"].value
    (0.6666666666666666, 1.0)
    """

    __slots__ = ("_delays", "_settings", "_sums", "arrivals", "bands", "labeled", "losses", "predicted", "task")

    def __init__(
        self,
        task: Task,
        classes: Sequence[str] = (),
        decision_threshold: float = 0.5,
        center: float = 0.0,
        score_bins: int = 2048,
        exact_rows: int = 0,
        cutoffs: Sequence[int] = (10,),
        value: ValueSpec | None = None,
        window_ms: int = 0,
        losses: LossSettings | None = None,
        bands: tuple[float, ...] = (),
    ) -> None:
        self.task: Task = task
        #: Which labels have come, by slot of a window so long; None if the length is not given.
        self.arrivals: Arrivals | None = None
        if window_ms > 0:
            self.arrivals = Arrivals(task, len(classes), decision_threshold, center, window_ms)
        #: Predictions made; some of them may have no label yet, or never get one.
        self.predicted = 0
        #: Predictions with a label.
        self.labeled = 0
        #: Losses by time of prediction, if they are kept.
        self.losses: LossBins | None = None if losses is None else LossBins(losses)
        #: Predictions and labels by band of scores, if they are counted.
        self.bands: ScoreBands | None = ScoreBands(bands) if bands else None
        self._delays = DelayHistogram()
        self._sums, self._settings = new_sums(
            task,
            classes=classes,
            decision_threshold=decision_threshold,
            center=center,
            score_bins=score_bins,
            exact_rows=exact_rows,
            cutoffs=cutoffs,
            value=value,
        )

    @classmethod
    def of_spec(
        cls,
        spec: ModelSpec,
        center: float = 0.0,
        *,
        arrivals: bool = True,
        losses: LossSettings | None = None,
        bands: tuple[float, ...] = (),
    ) -> OutcomeStats:
        """Empty statistics of a model; ``center`` is a finite number near the labels of a regression.

        ``arrivals``: with what is said of open windows (nothing is for ranked lists)."""
        rules = spec.performance
        return cls(
            spec.task,
            spec.classes,
            rules.decision_threshold,
            center=center,
            exact_rows=rules.exact_rows,
            cutoffs=rules.cutoffs,
            value=rules.value,
            window_ms=spec.window_ms if arrivals and spec.task != "ranking" else 0,
            losses=losses,
            bands=bands,
        )

    def add_predicted(
        self, rows: int, offsets_ms: NDArray[np.int64] | None = None, scores: NDArray[np.float64] | None = None
    ) -> None:
        """Count predictions, with or without a label; ``offsets_ms`` (rows,): their times after the window's start;
        ``scores`` (rows,): what is banded (:func:`~driftloop.performance.score_bands.band_scores`)."""
        self.predicted += rows
        if self.bands is not None and scores is not None:
            self.bands.add_predicted(scores)
        elif rows:
            self.bands = None
        if self.arrivals is not None:
            self.arrivals.add_predicted(_offsets(offsets_ms, rows))

    def update(
        self,
        predictions: NDArray[np.float64] | Sequence[Sequence[str]],
        labels: NDArray[np.int64] | NDArray[np.float64] | Sequence[Mapping[str, float]],
        delays_ms: NDArray[np.int64],
        sign: int = 1,
        offsets_ms: NDArray[np.int64] | None = None,
        *,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Add labeled predictions (``sign`` 1), or take out again what was added before (-1: a corrected label).

        Shapes: binary and regression (n,) all three; multiclass predictions (n, classes) of probabilities and labels as
        class indices; ranking n lists of items and n mappings of relevant items to gains. ``weights`` (n,) are those of
        a binary task with a value column, NaN where unknown. Delays are label time - prediction time;
        ``offsets_ms`` (n,), the predictions' times after the window's start, are needed for arrivals and losses. Raises
        ``ValueError`` for shapes that do not fit, NaN, infinite numbers, probabilities outside [0, 1] and unknown
        labels; then nothing was counted.
        """
        rows = len(predictions)
        if len(labels) != rows or len(delays_ms) != rows:
            raise ValueError(
                f"predictions, labels and delays must be equally many, got {rows}, {len(labels)} and {len(delays_ms)}"
            )
        if sign not in (1, -1):
            raise ValueError(f"sign must be 1 (add) or -1 (take out again), got {sign!r}")
        if rows == 0:
            return
        if self.arrivals is not None or self.losses is not None:
            offsets_ms = _offsets(offsets_ms, rows)
        add_rows(self._sums, predictions, labels, sign, weights)
        self._delays.add(np.asarray(delays_ms, np.int64), sign)
        if self.bands is not None:
            self.bands.add_labeled(band_scores(self.task, np.asarray(predictions, np.float64)), sign)
        if offsets_ms is not None and (self.arrivals is not None or self.losses is not None):
            self._update_by_time(np.asarray(predictions, np.float64), np.asarray(labels), delays_ms, offsets_ms, sign)
        self.labeled += sign * rows

    def _update_by_time(
        self,
        predictions: NDArray[np.float64],
        labels: NDArray[np.int64] | NDArray[np.float64],
        delays_ms: NDArray[np.int64],
        offsets_ms: NDArray[np.int64],
        sign: int,
    ) -> None:
        if self.arrivals is not None:
            self.arrivals.update(predictions, labels, np.asarray(delays_ms, np.int64), offsets_ms, sign)
        if self.losses is not None:
            threshold = float(self._settings[1]) if self.task == "binary" else 0.0
            errors, losses = losses_of(self.task, predictions, labels, threshold, self.losses.settings.scale)
            self.losses.update(offsets_ms, errors, losses, sign)

    def merge(self, other: OutcomeStats) -> None:
        """Add the rows of another one. Raises ``ValueError`` if it was made with other settings."""
        if self._settings != other._settings:
            raise ValueError(
                f"statistics with different settings cannot be merged: {self._settings} and {other._settings}"
            )
        self._sums.merge(other._sums)  # type: ignore[arg-type]
        self._delays.merge(other._delays)
        if self.arrivals is not None and other.arrivals is not None:
            self.arrivals.merge(other.arrivals)
        else:
            self.arrivals = None
        if self.losses is not None and other.losses is not None and self.losses.settings == other.losses.settings:
            self.losses.merge(other.losses)
        else:
            self.losses = None
        if self.bands is not None and other.bands is not None and self.bands.edges == other.bands.edges:
            self.bands.merge(other.bands)
        else:
            self.bands = None
        self.predicted += other.predicted
        self.labeled += other.labeled

    def copy(self) -> OutcomeStats:
        """An independent copy."""
        twin = OutcomeStats.__new__(OutcomeStats)
        twin.task = self.task
        twin._settings = self._settings
        twin.predicted = self.predicted
        twin.labeled = self.labeled
        twin._delays = self._delays.copy()
        twin.arrivals = None if self.arrivals is None else self.arrivals.copy()
        twin._sums = self._sums.copy()
        twin.losses = None if self.losses is None else self.losses.copy()
        twin.bands = None if self.bands is None else self.bands.copy()
        return twin

    @property
    def coverage(self) -> float | None:
        """Share of the predictions that have a label; None while there is no prediction."""
        return self.labeled / self.predicted if self.predicted > 0 else None

    @property
    def delays(self) -> DelayHistogram:
        """Delays of the labels that are there."""
        return self._delays

    def delay_quantile_ms(self, q: float) -> int | None:
        """Quantile of the label delay, right within 1.6 %; None while there is no label."""
        return self._delays.quantile_ms(q)

    @property
    def auc_error_bound(self) -> float | None:
        """The most by which binned scores can have moved ``roc_auc``; None where that is undefined."""
        if self.labeled <= 0 or not isinstance(self._sums, BinarySums) or not self._sums.consistent:
            return None
        return self._sums.auc_error_bound()

    @property
    def confusion(self) -> list[list[int]] | None:
        """Counts by truth (rows) and decision (columns); None without such a matrix, or with very many classes."""
        if self.labeled <= 0 or not self._sums.consistent:
            return None
        return confusion_of(self._sums)

    def metrics(self, confidence: float = 0.95, names: Iterable[str] | None = None) -> dict[str, MetricValue]:
        """Metrics of the task with their intervals: those named, or all; undefined (None) while there is no labeled
        row. Raises ``ValueError`` for a name that the task does not have.

        Also all undefined where the sums show that more was taken out than is here (corrections of labels that are in
        another one, not merged yet).
        """
        wanted = list(metric_names(self.task, self._sums) if names is None else names)
        unknown = [name for name in wanted if direction_of(self.task, name) is None]
        if unknown:
            raise ValueError(f"a {self.task} task has no metric {unknown[0]!r}")
        if self.labeled <= 0 or not self._sums.consistent:
            return {name: MetricValue(None, None, None, max(0, self.labeled)) for name in wanted}
        return self._sums.metrics(confidence, wanted)

    def encode(self) -> bytes:
        """JSON for :meth:`decode`. Equal statistics give equal bytes."""
        return write_outcomes(
            OutcomeWire(
                settings=list(self._settings),
                predicted=self.predicted,
                labeled=self.labeled,
                delays=self._delays.to_wire(),
                sums=self._sums.to_wire(),
                arrivals=None if self.arrivals is None else self.arrivals.to_wire(),
                losses=msgspec.UNSET if self.losses is None else self.losses.to_wire(),
                bands=msgspec.UNSET if self.bands is None else self.bands.to_wire(),
            )
        )

    @classmethod
    def decode(cls, data: bytes | msgspec.Raw, like: OutcomeStats) -> OutcomeStats:
        """The statistics that :meth:`encode` wrote, with the settings of ``like``.

        Raises ``ValueError`` if they were made with other settings or are damaged.
        """
        wire = read_outcomes(data)
        if tuple(wire.settings) != like._settings:
            raise ValueError(
                f"these outcome statistics were made with the settings {tuple(wire.settings)}, but "
                f"{like._settings} are wanted: the model's spec has changed since"
            )
        stats = like.copy()
        stats.predicted = wire.predicted
        stats.labeled = wire.labeled
        stats._delays = DelayHistogram()
        stats.losses = stats.bands = None
        if wire.arrivals is None:
            stats.arrivals = None
        try:
            stats._delays.load(wire.delays)
            stats._sums.load(wire.sums)
            if stats.arrivals is not None and wire.arrivals is not None:
                stats.arrivals.load(wire.arrivals)
            if like.losses is not None and wire.losses is not msgspec.UNSET:
                stats.losses = LossBins.from_wire(wire.losses, like.losses.settings)
            if like.bands is not None and wire.bands is not msgspec.UNSET:
                stats.bands = ScoreBands.from_wire(wire.bands, like.bands.edges)
        except DAMAGED as error:
            raise ValueError(f"damaged outcome statistics: {error}") from error
        return stats

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OutcomeStats):
            return NotImplemented
        return (
            self._settings == other._settings
            and self.predicted == other.predicted
            and self.labeled == other.labeled
            and self._delays == other._delays
            and self.arrivals == other.arrivals
            and self._sums == other._sums
            and self.losses == other.losses
            and self.bands == other.bands
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"OutcomeStats({self.task!r}, predicted={self.predicted}, labeled={self.labeled})"


def _offsets(offsets_ms: NDArray[np.int64] | None, rows: int) -> NDArray[np.int64]:
    if offsets_ms is None or len(offsets_ms) != rows:
        raise ValueError(f"expected the times of {rows} predictions after the window's start (offsets_ms)")
    return np.asarray(offsets_ms, np.int64)

"""What travels on the topics: one msgspec Struct for each kind of event (reports and decisions beside this file).

Times are event times in milliseconds (``_ms``). Readers ignore fields that they do not know, and every event has a
``schema_version``, so that a newer writer can add optional fields.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

__all__ = [
    "SCHEMA_VERSION",
    "Alert",
    "AlertState",
    "Label",
    "Labeled",
    "PartialMessage",
    "Prediction",
    "Severity",
    "SourceProgress",
    "SourceRange",
    "WindowKind",
    "WindowPartial",
]

SCHEMA_VERSION = 1

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
WindowKind = Literal["input", "outcome"]
Severity = Literal["warning", "critical"]
AlertState = Literal["opened", "firing", "resolved"]


class Prediction(Struct, frozen=True, kw_only=True, gc=False):
    """What a model said about one case, with the features that it saw.

    ``prediction`` is, by the model's task: binary, the probability of the positive class in [0, 1]; regression, the
    predicted value; multiclass, an object of class name to probability; ranking, a list of item ids from the top or an
    object of ``items`` and their ``scores``. ``features`` is an object of feature name to
    number, string, boolean or null (null and an absent key both mean missing).
    """

    prediction_id: Identifier
    model_id: Identifier
    model_version: Identifier
    event_time_ms: int
    features: Raw
    prediction: Raw
    variant: str | None = None
    schema_version: int = SCHEMA_VERSION


class Label(Struct, frozen=True, kw_only=True, gc=False):
    """What turned out true. ``event_time_ms`` is when it became known; a higher ``revision`` corrects a lower one.

    Of several labels of one prediction the one with the highest (revision, event_time_ms) counts. ``label`` is, by the
    model's task: binary, 0 or 1; regression, a number; multiclass, a class name; ranking, a list of the relevant item
    ids or an object of item id to gain.
    """

    prediction_id: Identifier
    model_id: Identifier
    event_time_ms: int
    label: Raw
    revision: int = 0
    schema_version: int = SCHEMA_VERSION


class Labeled(Struct, frozen=True, kw_only=True, gc=False):
    """A prediction joined with its label. Readers keep the highest (revision, labeled_at_ms) of a prediction_id."""

    prediction_id: str
    model_id: str
    model_version: str
    predicted_at_ms: int
    labeled_at_ms: int
    features: Raw
    prediction: Raw
    label: Raw
    revision: int
    late: bool
    source_partition: int
    prediction_offset: int
    label_offset: int
    variant: str | None = None
    schema_version: int = SCHEMA_VERSION


class SourceRange(Struct, frozen=True, kw_only=True, order=True):
    """Offsets of one source partition that a partial or report was made from, from ``first`` up to before ``end``."""

    partition: int
    predictions_first: int
    predictions_end: int
    labels_first: int = -1
    labels_end: int = -1


class WindowPartial(Struct, frozen=True, kw_only=True, tag_field="type", tag="partial"):
    """One source partition's cumulative statistics of one window: an upsert, never a delta.

    A partial with ``final`` says that this source partition's watermarks have passed the window. ``late`` partials hold
    the rows that came after that; they restate a report.
    """

    model_id: str
    model_version: str
    kind: WindowKind
    segment: str
    window_start_ms: int
    window_end_ms: int
    late: bool
    final: bool
    source: SourceRange
    stats: Raw
    schema_version: int = SCHEMA_VERSION


class SourceProgress(Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a source partition has been read, and from where its state can be rebuilt.

    ``*_max_ms`` is the largest event time among the records below ``*_offset`` (the next offset to be read); less the
    model's allowed lateness it is the watermark. A topic partition without records for a while is idle: it then holds
    no window back. ``restart_*_offset`` is the earliest offset that open windows and pending predictions still need,
    ``restart_*_max_ms`` the largest event time below that.
    """

    source_partition: int
    predictions_offset: int
    predictions_max_ms: int
    labels_offset: int
    labels_max_ms: int
    restart_predictions_offset: int
    restart_predictions_max_ms: int
    restart_labels_offset: int
    restart_labels_max_ms: int
    predictions_idle: bool = False
    labels_idle: bool = False
    worker_id: str = ""
    schema_version: int = SCHEMA_VERSION


PartialMessage = WindowPartial | SourceProgress


class Alert(Struct, frozen=True, kw_only=True):
    """A change of state of one alert: opened, still firing in a later window, or resolved."""

    alert_id: str
    event_id: str
    model_id: str
    model_version: str
    kind: Literal["drift", "performance", "data_quality", "concept_drift"]
    subject: str
    segment: str
    state: AlertState
    severity: Severity
    window_start_ms: int
    window_end_ms: int
    opened_at_ms: int
    report_id: str
    statistic: float | None
    threshold: float | None
    message: str
    method: str = ""
    sliding: str = ""
    schema_version: int = SCHEMA_VERSION

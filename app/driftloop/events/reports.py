"""What a judged window's report says, from a single method's result to the whole.

Times are event times in milliseconds (``_ms``), as in :mod:`driftloop.events.messages`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from driftloop.events.messages import SCHEMA_VERSION, Severity, SourceRange, WindowKind

__all__ = [
    "AgeShare",
    "ConceptReport",
    "Decision",
    "EstimateComparison",
    "FeatureRank",
    "FeatureReport",
    "LabelReport",
    "MethodResult",
    "MetricReport",
    "MultivariateReport",
    "QualityDecision",
    "QualityReport",
    "ReferenceVerdict",
    "WindowReport",
]

Decision = Literal["ok", "drift", "insufficient", "info"]


QualityDecision = Literal["ok", "broken", "insufficient"]


class MethodResult(Struct, frozen=True, kw_only=True):
    """One statistic of one feature. ``p_value`` is the method's own if it is a test, else the companion test's, before
    correction for many features. ``low`` and ``high`` are a 95 % interval of the statistic, None where there is none or
    no bound on that side. ``change`` is the signed change whose size the statistic is, for methods that have one.

    ``severity`` is there if, and only if, this result makes the feature drift: the threshold is exceeded and the
    corrected p-value is significant. ``critical`` is the value from which on it is critical; ``basis`` says how a
    threshold was found that is no constant.
    """

    method: str
    statistic: float | None
    threshold: float | None
    p_value: float | None = None
    exceeded: bool = False
    low: float | None = None
    high: float | None = None
    change: float | None = None
    critical: float | None = None
    basis: str = ""
    severity: Severity | None = None


class ReferenceVerdict(Struct, frozen=True, kw_only=True):
    """What another reference than the deciding one says of a feature; it is reported and decides nothing."""

    reference: str
    reference_rows: int
    decision: Decision
    sentence: str
    results: list[MethodResult] = field(default_factory=list)
    adjusted_p_value: float | None = None
    reference_mean: float | None = None


class FeatureReport(Struct, frozen=True, kw_only=True):
    """One feature in one window against the reference that decides: every statistic and the one decision."""

    feature: str
    kind: str
    rows: int
    missing: int
    reference_rows: int
    results: list[MethodResult]
    decision: Decision
    sentence: str
    adjusted_p_value: float | None = None
    unseen: int = 0
    mean: float | None = None
    reference_mean: float | None = None
    reference: str = "training"
    others: list[ReferenceVerdict] = field(default_factory=list)


class MetricReport(Struct, frozen=True, kw_only=True):
    """One realised metric of one outcome window, with its interval and the reference's value where there is one.

    ``error_bound`` is the most by which a histogram in place of the scores can have moved ``value``.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    rows: int
    threshold: float | None = None
    decision: Decision = "info"
    sentence: str = ""
    severity: Severity | None = None
    error_bound: float | None = None


class QualityReport(Struct, frozen=True, kw_only=True):
    """One data-quality check of one window. ``subject`` names it for alerts: ``age/maximum``, ``volume``.

    ``statistic`` counts as too much from ``threshold`` on (``volume``: outside [``low``, ``high``]) if it is
    significant too; ``p_value`` is None where nothing is left to chance. ``breaks_inputs``: what a model would learn
    from this window is the break, so a retraining for what the window says is held back.
    """

    check: str
    subject: str
    statistic: float | None
    threshold: float | None
    p_value: float | None
    rows: int
    decision: QualityDecision
    sentence: str
    low: float | None = None
    high: float | None = None
    breaks_inputs: bool = False


class MultivariateReport(Struct, frozen=True, kw_only=True):
    """One statistic over several features, or of one vector or text feature, on a sample of the window's rows.

    ``subject`` is that feature, or ``""`` for the numeric and categorical features together. ``statistic`` is an effect
    size; it decides where it reaches ``threshold`` and ``adjusted_p_value`` (corrected over all such statistics of the
    window) is significant. ``rows`` and ``reference_rows`` are those of the two samples.
    """

    subject: str
    method: str
    statistic: float | None
    threshold: float | None
    p_value: float | None
    adjusted_p_value: float | None
    rows: int
    reference_rows: int
    decision: Decision
    sentence: str


class FeatureRank(Struct, frozen=True, kw_only=True):
    """How much a feature's change matters: its share of the model's importance times its drift.

    ``drift`` is its largest statistic in units of the threshold; ``weight`` the share of importance among the window's
    judged features (equal for all if no importance is known).
    """

    feature: str
    weight: float
    drift: float
    score: float


class EstimateComparison(Struct, frozen=True, kw_only=True):
    """What an input window's estimate was worth, once its labels are there, and how the version's estimates of this
    metric have fared so far.

    ``difference`` is realised - estimate, ``half_widths`` its size in halves of the interval's width.
    ``windows`` counts the windows compared, this one included; ``mean_absolute_error`` is over them,
    ``reference_error`` that of taking the reference's value for an estimate, ``covered_share`` the share of their
    intervals that held the realised value.
    """

    metric: str
    estimate: float
    realised: float
    difference: float
    labeled_rows: int
    windows: int
    mean_absolute_error: float
    low: float | None = None
    high: float | None = None
    half_widths: float | None = None
    covered: bool | None = None
    covered_share: float | None = None
    reference_error: float | None = None


class AgeShare(Struct, frozen=True, kw_only=True):
    """Share of the predictions whose label comes within an age, with its interval."""

    age_ms: int
    share: float
    low: float
    high: float


class LabelReport(Struct, frozen=True, kw_only=True):
    """How the labels of an outcome window come in.

    ``never_share``: predictions whose label does not come within the horizon. ``maturity``: share of the labels that
    will come which have come (1 once final, None where no earlier window tells). ``effective_rows``: what the labeled
    rows are worth once they are weighed for those still to come.
    """

    delay_p50_ms: int | None
    delay_p90_ms: int | None
    delay_p99_ms: int | None
    coverage_by_age: list[AgeShare] = field(default_factory=list)
    never_share: float | None = None
    maturity: float | None = None
    effective_rows: float | None = None


class ConceptReport(Struct, frozen=True, kw_only=True):
    """What one change detector says after one outcome window, about the losses since it started.

    ``detector`` is its name in the spec with what it looks on, as in ``adwin:loss``. ``statistic`` and ``threshold``
    are the detector's own; ``e_value`` and ``p_value`` where it has one. ``risk`` is the mean loss or error since
    ``since_ms``, with [``low``, ``high``] where it gives limits that hold at all times; ``bound`` the risk from
    which on it counts as drift. ``rows`` are those since the start. ``changed_at_ms``: when the change that it found
    began, by its estimate; ``fell``: that was one for the better.
    """

    detector: str
    state: Literal["ok", "warning", "drift", "insufficient"]
    rows: int
    statistic: float | None = None
    threshold: float | None = None
    e_value: float | None = None
    p_value: float | None = None
    risk: float | None = None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    bound: float | None = None
    since_ms: int | None = None
    changed_at_ms: int | None = None
    fell: bool = False
    sentence: str = ""


class WindowReport(Struct, frozen=True, kw_only=True):
    """The merged and judged window of one model version and segment (``""``: all rows).

    ``sliding`` is the length of a sliding window as the spec has it (``"7d"``; ``""``: a window of its own), ``panes``
    the number of windows with rows that it was merged from.
    ``confusion`` has a row for each true class and a column for each predicted one (binary: negative, positive).
    ``drifted_importance`` is the drifting features' share of the judged features' importance, None if none is known.
    What says where it comes from is no part of the content that ``content_digest`` is of: ``made_by`` names the
    software that wrote it, ``source_partitions`` is how many there were, ``limits`` the process settings that decide
    which rows count, and ``logs`` the ids of the cluster and its topics of predictions and labels (empty: not known).
    """

    report_id: str
    model_id: str
    model_version: str
    kind: WindowKind
    segment: str
    window_start_ms: int
    window_end_ms: int
    status: Literal["provisional", "final", "restated"]
    rows: int
    late_rows: int
    sources: list[SourceRange]
    features: list[FeatureReport] = field(default_factory=list)
    metrics: list[MetricReport] = field(default_factory=list)
    quality: list[QualityReport] = field(default_factory=list)
    drifted_features: int = 0
    judged_features: int = 0
    labeled_rows: int = 0
    coverage: float | None = None
    delay_median_ms: int | None = None
    decision: Decision = "ok"
    sentence: str = ""
    spec_digest: str = ""
    content_digest: str = ""
    sliding: str = ""
    panes: int = 0
    confusion: list[list[int]] | None = None
    multivariate: list[MultivariateReport] = field(default_factory=list)
    ranking: list[FeatureRank] = field(default_factory=list)
    drifted_importance: float | None = None
    estimated: list[MetricReport] = field(default_factory=list)
    comparisons: list[EstimateComparison] = field(default_factory=list)
    labels: LabelReport | None = None
    concept: list[ConceptReport] = field(default_factory=list)
    made_by: str = ""
    source_partitions: int = 0
    limits: dict[str, int] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

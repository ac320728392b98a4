"""The model spec: types, defaults and the checks that need more than one key.

Durations are texts in YAML (``"36h"``); the ``*_ms`` properties give them in milliseconds.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, Fraction, PositiveInt, Task
from driftloop.spec.concept import ConceptRules
from driftloop.spec.gates import GateSpec, default_gates
from driftloop.spec.methods import METHODS
from driftloop.spec.policy import PolicySpec
from driftloop.spec.references import DriftReference
from driftloop.spec.thresholds import Threshold, ThresholdRule
from driftloop.spec.training import TrainingSpec

__all__ = [
    "AlertRules",
    "DriftMethod",
    "DriftReference",
    "DriftRules",
    "FairnessSpec",
    "FeatureSpec",
    "ModelSpec",
    "MultivariateMethod",
    "MultivariateMethodName",
    "MultivariateRules",
    "PerformanceRule",
    "PerformanceRules",
    "QualityRules",
    "ThresholdRule",
    "ValueSpec",
]

FeatureKind = Literal["numeric", "categorical", "vector", "text"]

# The names are those of the catalogue, so type checkers take them for texts; decoding checks them.
if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[tuple(METHODS)]
FairnessMetric = Literal[
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equalized_odds_difference",
]
MultivariateMethodName = Literal[
    "domain_classifier", "pca_reconstruction", "mmd", "correlation_change", "centroid_shift"
]


class FeatureSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature: ``numeric`` (numbers, booleans), ``categorical`` (strings, integers, booleans), ``vector`` (a list
    of ``length`` numbers, an embedding) or ``text`` (a string of words). ``importance`` is its weight in rankings, in
    any unit; null: the one measured in training.

    ``minimum`` and ``maximum`` bound a numeric feature, ``pattern`` (a regular expression for the whole text) and
    ``categories`` a categorical one; up to ``max_violations`` of the rows may violate each without an alert."""

    kind: FeatureKind
    required: bool = False
    length: Annotated[int, Meta(ge=1, le=4096)] | None = None
    importance: Annotated[float, Meta(ge=0.0)] | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    categories: list[str] | None = None
    max_violations: Fraction = 0.0


class DriftMethod(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A statistic and the effect size from which on it counts. ``threshold`` null: reported, never decides; a mapping:
    a rule that finds it for each window. From ``critical`` on, drift is critical and not a warning."""

    method: MethodName
    threshold: Threshold = None
    critical: Threshold = None


def _numeric_default() -> list[DriftMethod]:
    return [
        DriftMethod(method="wasserstein", threshold=0.25),
        DriftMethod(method="ks"),
        DriftMethod(method="psi"),
        DriftMethod(method="jensen_shannon"),
    ]


def _categorical_default() -> list[DriftMethod]:
    return [
        DriftMethod(method="jensen_shannon", threshold=0.1),
        DriftMethod(method="psi"),
        DriftMethod(method="chi_square"),
    ]


class MultivariateMethod(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A statistic over several features, or the components of a vector or text feature, and the effect from which on it
    counts. ``threshold`` null: reported, never decides."""

    method: MultivariateMethodName
    threshold: float | None = None


def _vector_default() -> list[MultivariateMethod]:
    return [
        MultivariateMethod(method="domain_classifier", threshold=0.6),
        MultivariateMethod(method="mmd", threshold=0.1),
        MultivariateMethod(method="centroid_shift", threshold=0.2),
    ]


def _text_default() -> list[MultivariateMethod]:
    return [MultivariateMethod(method="domain_classifier", threshold=0.6)]


class MultivariateRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is tested on a sample of ``sample_rows`` rows of each window: ``methods`` on the numeric and categorical
    features together, ``vector`` and ``text`` on every feature of that kind. ``seed`` decides which rows those are."""

    methods: list[MultivariateMethod] = field(default_factory=list)
    vector: list[MultivariateMethod] = field(default_factory=_vector_default)
    text: list[MultivariateMethod] = field(default_factory=_text_default)
    sample_rows: Annotated[int, Meta(ge=50, le=5_000)] = 500
    seed: Annotated[int, Meta(ge=0)] = 0


class DriftRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How features are judged. A feature drifts if a method's threshold is exceeded *and* its p-value (a test's
    own; for distances that of two-sample KS or two-sample chi-square), corrected over the window's features, is
    significant. ``missing`` and ``unseen`` bound the change of the missing rate and the rate of unseen categories.
    ``critical_times``: drift is critical from so many times the threshold on, where a method has no ``critical``."""

    significance: Fraction = 0.001
    correction: Literal["benjamini-hochberg", "bonferroni", "none"] = "benjamini-hochberg"
    numeric: list[DriftMethod] = field(default_factory=_numeric_default)
    categorical: list[DriftMethod] = field(default_factory=_categorical_default)
    missing: Fraction = 0.1
    unseen: Fraction = 0.05
    share_of_features: Fraction = 0.3
    multivariate: MultivariateRules = field(default_factory=MultivariateRules)
    references: list[DriftReference] = field(default_factory=lambda: [DriftReference(name="training")])
    critical_times: Annotated[float, Meta(ge=1.0)] | None = None


class PerformanceRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bound on a realised metric over the last ``windows`` windows merged: worse than the reference by ``drop``
    (absolute, or relative to the reference's value). It counts only if the interval excludes the reference. With
    ``critical`` it is a warning up to a drop of so much, measured as ``drop`` is; without, it is always critical."""

    metric: str
    drop: float
    relative: bool = False
    windows: PositiveInt = 1
    confidence: Fraction = 0.95
    #: On the metric as estimated when the input window closes, before its labels come.
    estimated: bool = False
    critical: float | None = None


class ValueSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each outcome of a binary decision is worth, times the numeric feature ``column`` if there is one."""

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0
    tn: float = 0.0
    column: str | None = None


class FairnessSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gaps between the groups of a segment column: ``bounds`` by metric decide, every other one is reported alone."""

    column: str
    metrics: list[FairnessMetric] = field(default_factory=lambda: list(get_args(FairnessMetric)))
    bounds: dict[str, float] = field(default_factory=dict)
    confidence: Fraction = 0.95


class PerformanceRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which rules decide, and which ``metrics`` are reported beside those (empty: the task's usual ones).

    ``exact_rows``: scores of up to so many rows are kept as they are (binary). ``cutoffs``: how many items from the top
    count (ranking). ``estimate``: whether performance is estimated before labels come; left out, whatever costs little
    is (calibrated and weighted estimates, no loss model)."""

    rules: list[PerformanceRule] = field(default_factory=list)
    decision_threshold: Fraction = 0.5
    metrics: list[str] = field(default_factory=list)
    exact_rows: Annotated[int, Meta(ge=0, le=50_000)] = 0  # 1.2 MB of a message, which has at most 2 MB
    cutoffs: Annotated[list[Annotated[int, Meta(ge=1, le=1000)]], Meta(min_length=1, max_length=8)] = field(
        default_factory=lambda: [10]
    )
    value: ValueSpec | None = None
    fairness: list[FairnessSpec] = field(default_factory=list)
    estimate: bool | None = None


class AlertRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hysteresis: open after ``open_after`` bad windows out of the last ``open_within``, resolve after
    ``resolve_after`` good ones in a row."""

    open_after: PositiveInt = 1
    open_within: PositiveInt = 1
    resolve_after: PositiveInt = 2


class QualityRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the quality of a window's data is broken; null switches a check off, ``enabled: false`` all of them.

    Shares are tolerated ones: ``type_errors`` of the records; ``infinite``, ``constant`` (the one value) and
    ``stuck_values`` (one value, or one gap between anchors) more than in the reference; ``lost_categories`` of the
    reference's rows; ``repeated_ids`` and ``duplicate_rows`` more than before; ``new_keys`` of the rows looked at;
    ``label_coverage`` of the labels that are to be expected for a band of scores.
    ``volume`` is a factor: fewer rows than the expected ones over it, or more than times it. ``empty_windows`` in a row
    are reported at most."""

    enabled: bool = True
    significance: Fraction = 0.001
    type_errors: Fraction | None = 0.01
    infinite: Fraction | None = 0.001
    constant: Fraction | None = 0.2
    stuck_values: Fraction | None = 0.5
    lost_categories: Fraction | None = 0.01
    repeated_ids: Fraction | None = 0.1
    duplicate_rows: Fraction | None = 0.2
    new_keys: Fraction | None = 0.05
    label_coverage: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = 0.2
    absent_keys: bool = True
    volume: Annotated[float, Meta(gt=1.0)] | None = 2.0
    empty_windows: Annotated[int, Meta(ge=0, le=1_000)] = 7


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Everything that driftloop is told about one model."""

    model: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    task: Task
    features: Annotated[dict[str, FeatureSpec], Meta(min_length=1)]
    classes: list[str] = field(default_factory=list)
    description: str = ""
    window: Duration = "1d"
    label_horizon: Duration = "7d"
    allowed_lateness: Duration = "1h"
    late_retention: Duration = "0s"
    minimum_rows: PositiveInt = 100
    segments: list[str | list[str]] = field(default_factory=list)
    sliding: list[Duration] = field(default_factory=list)
    drift: DriftRules = field(default_factory=DriftRules)
    performance: PerformanceRules = field(default_factory=PerformanceRules)
    quality: QualityRules = field(default_factory=QualityRules)
    concept: ConceptRules = field(default_factory=ConceptRules)
    alerts: AlertRules = field(default_factory=AlertRules)
    policy: PolicySpec = field(default_factory=PolicySpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    gates: list[GateSpec] = field(default_factory=default_gates)
    promotion: Literal["automatic", "approval", "manual"] = "automatic"

    @cached_property
    def window_ms(self) -> int:
        return parse_duration_ms(self.window)

    @cached_property
    def sliding_ms(self) -> dict[str, int]:
        """Lengths of the sliding windows by their texts in the spec."""
        return {text: parse_duration_ms(text) for text in self.sliding}

    @cached_property
    def label_horizon_ms(self) -> int:
        return parse_duration_ms(self.label_horizon)

    @cached_property
    def allowed_lateness_ms(self) -> int:
        return parse_duration_ms(self.allowed_lateness)

    @cached_property
    def late_retention_ms(self) -> int:
        """How long after the horizon a label may still come, be joined for training, and restate a report."""
        return parse_duration_ms(self.late_retention)

"""The key ``concept``: which change detectors watch a model's losses, their settings, and the checks of those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from driftloop.spec.problems import KeyPath, did_you_mean

__all__ = ["DETECTORS", "ConceptDetector", "ConceptRules", "Setting", "concept_problems"]

DetectorName = Literal[
    "confidence_sequence", "e_detector", "adwin", "ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley", "kswin"
]
Number = float | None
Whole = int | None


class Setting(Struct, frozen=True):
    """A detector's setting: its default, and the open or closed range that it must be in."""

    default: float | int | bool | str
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def problem(self, value: object) -> str | None:
        """What was expected, if the value is outside; choices and switches have no range."""
        if isinstance(value, bool | str) or not isinstance(value, int | float):
            return None
        inside = (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )
        if inside:
            return None
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("more than", self.above), ("at least", self.least), ("less than", self.below), ("at most", self.most),
            )
            if bound is not None
        ]  # fmt: skip
        return f"expected a number {' and '.join(bounds)}, got {value:g}"


def _share(default: float) -> Setting:
    return Setting(default, above=0.0, below=1.0)


def _count(default: int, least: int = 1) -> Setting:
    return Setting(default, least=least)


def _positive(default: float) -> Setting:
    return Setting(default, above=0.0)


_HDDM: Final = {
    "drift_confidence": _share(0.001),
    "warning_confidence": _share(0.005),
    "two_sided_test": Setting(False),
}

#: Detector to its settings. River's detectors have River 0.26's names and defaults, but for ``seed`` (River: none) and
#: for Page-Hinkley's ``unit`` and ``mode`` (River: the values' own unit and both directions).
DETECTORS: Final[Mapping[str, Mapping[str, Setting]]] = {
    "confidence_sequence": {
        "alpha": _share(0.01),
        "tolerance": Setting(0.1, least=0.0),
        "relative": Setting(True),
    },
    "e_detector": {
        "alpha": _share(0.0001),
        "tolerance": Setting(0.1, least=0.0),
        "relative": Setting(True),
        "kind": Setting("cusum"),
    },
    "adwin": {
        "delta": _share(0.002),
        "clock": _count(32),
        "max_buckets": Setting(5, least=2, most=100),
        "min_window_length": _count(5),
        "grace_period": _count(10),
    },
    "ddm": {"warm_start": _count(30), "warning_threshold": _positive(2.0), "drift_threshold": _positive(3.0)},
    "eddm": {"warm_start": _count(30), "alpha": _share(0.95), "beta": _share(0.9)},
    "hddm_a": _HDDM,
    "hddm_w": {**_HDDM, "lambda_val": Setting(0.05, above=0.0, most=1.0)},
    "page_hinkley": {
        "min_instances": _count(30),
        "delta": Setting(0.005, least=0.0),
        "threshold": _positive(50.0),
        "alpha": Setting(1 - 0.0001, above=0.0, most=1.0),
        "mode": Setting("up"),
        "unit": Setting("deviations"),
    },
    "kswin": {
        "alpha": _share(0.005),
        "window_size": Setting(100, least=2, most=10_000),  # values, kept in the model's state
        "stat_size": _count(30),
        "seed": _count(0, 0),
    },
}


class ConceptDetector(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One detector: its name, what it looks ``on`` (``error``: zeros and ones; ``loss``: graded), and the settings that
    differ from the defaults of :data:`DETECTORS`. Left out, ``on`` is ``error`` for ddm, eddm, hddm_a and hddm_w, and
    ``loss`` for the others."""

    detector: DetectorName
    on: Literal["error", "loss"] | None = None
    alpha: Number = None
    beta: Number = None
    clock: Whole = None
    delta: Number = None
    drift_confidence: Number = None
    drift_threshold: Number = None
    grace_period: Whole = None
    kind: Literal["sr", "cusum"] | None = None
    lambda_val: Number = None
    max_buckets: Whole = None
    min_instances: Whole = None
    min_window_length: Whole = None
    mode: Literal["up", "down", "both"] | None = None
    relative: bool | None = None
    seed: Whole = None
    stat_size: Whole = None
    threshold: Number = None
    tolerance: Number = None
    two_sided_test: bool | None = None
    unit: Literal["deviations", "value"] | None = None
    warm_start: Whole = None
    warning_confidence: Number = None
    warning_threshold: Number = None
    window_size: Whole = None

    @property
    def stream(self) -> Literal["error", "loss"]:
        """What it looks on."""
        if self.on is not None:
            return self.on
        return "error" if self.detector in ("ddm", "eddm", "hddm_a", "hddm_w") else "loss"

    @property
    def given(self) -> dict[str, float | int | bool | str]:
        """The settings that the spec names."""
        named = msgspec.structs.asdict(self)
        return {name: value for name, value in named.items() if name not in ("detector", "on") and value is not None}

    @property
    def settings(self) -> dict[str, float | int | bool | str]:
        """All settings, defaults filled in."""
        return {name: setting.default for name, setting in DETECTORS[self.detector].items()} | self.given


def _default_detectors() -> list[ConceptDetector]:
    return [ConceptDetector(detector="confidence_sequence"), ConceptDetector(detector="e_detector")]


class ConceptRules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which detectors watch the losses of outcome windows, cut into so many ``bins`` by the time of prediction."""

    bins: Annotated[int, Meta(ge=1, le=1440)] = 24
    detectors: list[ConceptDetector] = field(default_factory=_default_detectors)


def concept_problems(rules: ConceptRules, window_ms: int) -> Iterator[tuple[KeyPath, str]]:
    """Everything that is wrong with the key, with its place."""
    if 0 < window_ms < rules.bins:
        yield ("concept", "bins"), f"a window of {window_ms} ms cannot be cut into {rules.bins} bins; lower it"
    for index, item in enumerate(rules.detectors):
        path: KeyPath = ("concept", "detectors", index)
        known = DETECTORS[item.detector]
        for name, value in item.given.items():
            if name not in known:
                hint = did_you_mean(name, known)
                yield (*path, name), f"{item.detector} has no {name!r}{hint}; its settings are {', '.join(known)}"
                continue
            problem = known[name].problem(value)
            if problem is not None:
                yield (*path, name), problem
        yield from _together(item, path)
        if item in rules.detectors[:index]:
            yield path, "the same detector is listed twice"


def _together(item: ConceptDetector, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    settings = item.settings
    if item.detector in ("ddm", "eddm") and item.on == "loss":
        yield (*path, "on"), f"{item.detector} counts errors; it looks on 'error' alone"
    if item.detector == "eddm" and settings["alpha"] < settings["beta"]:  # type: ignore[operator]
        yield (*path, "beta"), "beta (alarm) must not be above alpha (warning)"
    # Draws without replacement from what is older than the newest stat_size values.
    if item.detector == "kswin" and settings["window_size"] < 2 * settings["stat_size"]:  # type: ignore[operator]
        yield (*path, "window_size"), "expected at least twice the stat_size, whose draws it must hold"

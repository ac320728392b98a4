"""The key ``concept``: every error names its key, and the documentation has the defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driftloop.spec import SpecError, parse_spec
from driftloop.spec.concept import DETECTORS, ConceptDetector

BASE = "model: m\ntask: binary\nfeatures: {x: {kind: numeric}}\n"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "spec.md"


def test_the_default_is_the_detectors_with_a_guarantee() -> None:
    spec = parse_spec(BASE)
    assert [item.detector for item in spec.concept.detectors] == ["confidence_sequence", "e_detector"]
    assert spec.concept.bins == 24
    chosen = parse_spec(
        f"{BASE}concept: {{detectors: [{{detector: adwin, delta: 0.01, on: error}}]}}"
    ).concept.detectors
    assert chosen == [ConceptDetector(detector="adwin", delta=0.01, on="error")]
    assert chosen[0].settings["clock"] == 32
    assert chosen[0].given == {"delta": 0.01}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("concept: {bins: 0}", "concept.bins: expected an integer, at least 1, at most 1440, got 0"),
        ("window: 10ms\nconcept: {bins: 24}", "concept.bins: a window of 10 ms cannot be cut into 24 bins; lower it"),
        ("concept: {detectors: [{detector: adwn}]}", "concept.detectors[0].detector: expected one of"),
        (
            "concept: {detectors: [{detector: adwin, alpha: 0.1}]}",
            "adwin has no 'alpha'; its settings are delta",
        ),
        ("concept: {detectors: [{detector: adwin, delta: 2}]}", "expected a number more than 0 and less than 1, got 2"),
        ("concept: {detectors: [{detector: ddm, on: loss}]}", "ddm counts errors; it looks on 'error' alone"),
        ("concept: {detectors: [{detector: eddm, beta: 0.99}]}", "beta (alarm) must not be above alpha (warning)"),
        ("concept: {detectors: [{detector: kswin, stat_size: 60}]}", "window_size: expected at least twice"),
        (
            "concept: {detectors: [{detector: kswin, window_size: 20000}]}",
            "window_size: expected a number at least 2 and",
        ),
        (
            "concept: {detectors: [{detector: adwin, max_buckets: 101}]}",
            "max_buckets: expected a number at least 2 and",
        ),
        ("concept: {detectors: [{detector: e_detector, kind: x}]}", "concept.detectors[0].kind: expected"),
        (
            "concept: {detectors: [{detector: ddm}, {detector: ddm}]}",
            "detectors[1]: the same detector is listed",
        ),
        ("concept: {detectors: []}\npolicy: {triggers: [{on: concept}]}", "a concept trigger needs a detector"),
        ("concept: {detectors: []}\ntraining: {since_change: true}", "training.since_change: only a concept detector"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(BASE + text)
    assert expected in str(error.value)


def test_the_documentation_has_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*|the same.*) \|$", DOCS.read_text(), re.MULTILINE))
    for name, settings in DETECTORS.items():
        text = rows[name].replace("the same, and", rows["hddm_a"] + ",")
        documented = dict(re.findall(r"`(\w+)` ([\w.]+)", text))
        expected = {key: str(setting.default).lower().removesuffix(".0") for key, setting in settings.items()}
        assert documented == expected, name

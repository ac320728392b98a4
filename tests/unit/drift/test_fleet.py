"""e-values over a fleet of models: the correction, the calibration and what is a hypothesis."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from typer.testing import CliRunner

from driftloop.cli.main import app, main
from driftloop.drift.e_values import calibrate_p, e_adjusted
from driftloop.drift.fleet import fleet_findings
from driftloop.events.reports import FeatureReport, MethodResult, WindowReport
from driftloop.registry import AssessmentStore, create_schema, open_engine
from driftloop.registry.latest import latest_final_reports

evidence = st.floats(0.0, 1e9)


@given(st.lists(evidence, min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.2, 1.0]))
def test_e_bh_by_its_definition(e_values: list[float], alpha: float) -> None:
    """Wang and Ramdas (2022), definition 1: reject the k largest, k the largest with k e_[k] / m >= 1 / alpha."""
    ranked = sorted(e_values, reverse=True)
    count = len(e_values)
    most = max((k for k in range(1, count + 1) if ranked[k - 1] and count / (k * ranked[k - 1]) <= alpha), default=0)
    bound = ranked[most - 1] if most else math.inf
    adjusted = e_adjusted(e_values)
    for value, rate in zip(e_values, adjusted, strict=True):
        if abs(rate - alpha) > 1e-9 * alpha:  # the same product rounded in another order
            assert (rate <= alpha) == (value >= bound)


def test_the_calibrator_is_an_e_value() -> None:
    # Under the null hypothesis p is uniform at most: the expectation is the integral.
    total, _ = quad(lambda log: calibrate_p(math.exp(log)) * math.exp(log), -700, 0, limit=500)
    assert total == pytest.approx(1 - 1 / 700, abs=1e-4), "the rest lies below e^-700: 1 / 700"
    values = [calibrate_p(p) for p in np.concatenate([10.0 ** np.arange(-300.0, 0), np.linspace(0.1, 1, 2_000)])]
    assert all(before >= after for before, after in pairwise(values))
    assert calibrate_p(0.0) == sys.float_info.max
    assert calibrate_p(1e-300) < sys.float_info.max
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError):
            calibrate_p(wrong)
    with pytest.raises(ValueError):
        e_adjusted([1.0, -1.0])


def test_false_discoveries_stay_bounded_under_dependence() -> None:
    """Every hypothesis shares one disturbance; 20 of 200 are false. BH has no guarantee here, e-BH has."""
    random = np.random.default_rng(5)
    shares = []
    power = []
    for _ in range(300):
        z = 0.7 * random.normal() + math.sqrt(1 - 0.49) * random.normal(size=200)
        z[:20] += 6.0
        e_values = [calibrate_p(float(p)) for p in norm.sf(z)]
        rejected = np.array(e_adjusted(e_values)) <= 0.1
        shares.append(rejected[20:].sum() / max(rejected.sum(), 1))
        power.append(rejected[:20].mean())
    assert np.mean(shares) < 0.1
    assert np.mean(power) > 0.5


def report(model: str, *features: FeatureReport, kind: str = "input", **changes: object) -> WindowReport:
    base: dict[str, object] = {
        "report_id": f"{model}/{kind}",
        "model_id": model,
        "model_version": "v1",
        "kind": kind,
        "segment": "",
        "window_start_ms": 0,
        "window_end_ms": 1000,
        "status": "final",
        "rows": 500,
        "late_rows": 0,
        "sources": [],
        "features": list(features),
        "content_digest": msgspec.json.encode(changes).hex(),
    }
    return msgspec.convert(msgspec.to_builtins({**base, **changes}), WindowReport)


def feature(name: str, p_value: float, *, exceeded: bool = True, significant: bool = True) -> FeatureReport:
    result = MethodResult(
        method="wasserstein",
        statistic=0.4,
        threshold=0.25,
        p_value=p_value,
        exceeded=exceeded,
        severity="warning" if exceeded and significant else None,
    )
    missing = MethodResult(method="missing", statistic=0.0, threshold=0.1, p_value=0.5)
    return FeatureReport(
        feature=name, kind="numeric", rows=500, missing=0, reference_rows=5000, results=[result, missing],
        decision="drift" if result.severity else "ok", sentence=f"{name} says", adjusted_p_value=p_value,
    )  # fmt: skip


def test_a_finding_stands_or_falls_with_the_number_of_models() -> None:
    lone = report("a", feature("temp", 2e-5))
    findings = fleet_findings([lone])
    assert [(f.subject, f.found) for f in findings] == [("temp", True), ("temp/missing", False)]
    assert findings[0].false_discovery_rate == pytest.approx(2 / calibrate_p(2e-5))
    assert findings[0].false_discovery_rate < 0.05
    many = [lone, *(report(f"m{number}", feature("temp", 0.3, exceeded=False)) for number in range(100))]
    assert fleet_findings(many)[0].false_discovery_rate > 0.05
    strong = fleet_findings([report(f"m{number}", feature("temp", 1e-9)) for number in range(100)])
    assert all(finding.false_discovery_rate < 0.01 for finding in strong if finding.found)


def test_an_effect_below_its_threshold_is_no_evidence() -> None:
    small = fleet_findings([report("a", feature("temp", 1e-200, exceeded=False))])
    assert {(finding.e_value, finding.false_discovery_rate) for finding in small} == {(0.0, 1.0)}


def test_concept_detectors_bring_their_own_e_values() -> None:
    def detector(state: str, e_value: float | None, p_value: float | None = None) -> SimpleNamespace:
        return SimpleNamespace(detector="risk:loss", state=state, e_value=e_value, p_value=p_value, sentence="worse")

    given = SimpleNamespace(
        model_id="a", model_version="v1", window_end_ms=1, report_id="r", features=[],
        concept=[detector("drift", 1e6), detector("ok", 3.0), detector("insufficient", None), detector("ok", None)],
    )  # fmt: skip
    found = fleet_findings([given])  # type: ignore[list-item]
    assert [(f.subject, f.e_value, f.found) for f in found] == [
        ("concept/risk:loss", 1e6, True),
        ("concept/risk:loss", 0.0, False),
    ]


def test_the_command_reads_the_latest_final_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path))
    engine = open_engine(f"sqlite:///{tmp_path / 'driftloop.db'}")
    create_schema(engine)
    written = [
        report("a", feature("old", 1e-12), window_end_ms=500, report_id="a/old"),
        report("a", feature("temp", 1e-12)),
        report("a", feature("temp", 1e-12), model_version="v2", rows=3, report_id="a/v2"),
        report("a", feature("wide", 1e-12), sliding="7d", report_id="a/7d"),
        report("a", feature("part", 1e-12), segment="origin=JFK", report_id="a/JFK"),
        report("b", feature("[hour]", 1e-3)),
        report("b", kind="outcome"),
    ]
    AssessmentStore(engine).commit(reports=[(item, b"") for item in written])
    assert [item.report_id for item in latest_final_reports(engine)] == ["a/input", "b/input", "b/outcome"]
    monkeypatch.setattr(sys, "argv", ["driftloop", "fleet"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    result = CliRunner().invoke(app, ["fleet", "--json"])
    assert result.exit_code == 0, result.output
    lines = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert [(line["model_id"], line["subject"]) for line in lines] == [("a", "temp"), ("b", "[hour]")]
    shown = CliRunner().invoke(app, ["fleet"]).stdout
    assert "2 models, 4 hypotheses, 2 findings in their reports; 1 stand" in shown
    assert "[hour]" in shown
    assert CliRunner().invoke(app, ["fleet", "--alpha", "2"]).exit_code == 2

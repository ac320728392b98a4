"""From events to outcome reports, for what a spec may ask beside the usual: value, exact areas, groups, rankings."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop.events.batch import RecordBatch
from driftloop.events.reports import MetricReport, WindowReport
from driftloop.judging.assess import Judged
from driftloop.judging.assessor import Assessor, Lookups
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.pointwise import evaluate_model
from driftloop.profiles.columns import PREDICTION, LabelDecoder, PredictionDecoder
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec

HOUR = 3_600_000
START = 1_704_067_200_000

LOANS = parse_spec(
    """
model: loans
task: binary
features: {amount: {kind: numeric}, region: {kind: categorical}}
window: 4h
label_horizon: 2h
allowed_lateness: 1h
late_retention: 24h
minimum_rows: 20
segments: [region]
performance:
  metrics: [roc_auc, mcc]
  exact_rows: 500
  value: {tp: 10, fp: -2, fn: -5, column: amount}
  rules: [{metric: mean_value, drop: 1.0}]
  fairness: [{column: region, metrics: [demographic_parity_difference], bounds: {demographic_parity_difference: 0.2}}]
"""
)
PAGES = parse_spec(
    """
model: pages
task: ranking
features: {length: {kind: numeric}}
window: 4h
label_horizon: 2h
minimum_rows: 20
performance: {cutoffs: [1, 3], rules: [{metric: ndcg_3, drop: 0.1}]}
"""
)


def judge(spec: ModelSpec, profile: ReferenceProfile, predictions: list[Any], labels: list[Any]) -> list[WindowReport]:
    class Catalog:
        def spec(self, model_id: str) -> ModelSpec | None:
            return spec if model_id == spec.model else None

        def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
            return profile

    monitor = SourceMonitor(0, Catalog(), Limits(), predictions_topic="p", labels_topic="l")
    for topic, events in (("p", predictions), ("l", labels)):
        values: list[bytes | None] = [json.dumps({"model_id": spec.model, **event}).encode() for event in events]
        count = len(values)
        batch = RecordBatch(topic, 0, range(count), [START + 9_999 * HOUR] * count, [b""] * count, values)
        (monitor.take_predictions if topic == "p" else monitor.take_labels)(batch)
    assert monitor.drain().dead_letters == []
    judged = Judged()

    def stored(report_id: str) -> tuple[WindowReport, bytes] | None:
        return next((pair for pair in judged.reports if pair[0].report_id == report_id), None)

    assessor = Assessor({spec.model: spec}, 1, Lookups(lambda *_: profile, lambda _: None, stored))
    assessor.take(list(enumerate([*monitor.take_partials(), monitor.progress()])))
    judged.add(assessor.advance().judged)
    return [report for report, _ in judged.reports if report.kind == "outcome"]


def event(index: int, hour: float, **more: object) -> dict[str, object]:
    return {"prediction_id": str(index), "event_time_ms": START + round(hour * HOUR), **more}


def by_name(report: WindowReport) -> dict[str, MetricReport]:
    return {metric.metric: metric for metric in report.metrics}


@pytest.fixture(scope="module")
def loans() -> tuple[Any, Any, Any, list[str | None]]:
    rng = np.random.default_rng(1)
    scores = rng.random(300).round(3)
    region: list[str | None] = ["north" if score + rng.normal(0, 0.4) > 0.5 else "south" for score in scores]
    return scores, (rng.random(300) < scores).astype(int), rng.lognormal(1.0, 1.0, 300).round(2), region


def loan_reports(loans: tuple[Any, Any, Any, list[str | None]], late: int = 0) -> list[WindowReport]:
    scores, labels, amounts, region = loans
    values = evaluate_model(LOANS, scores, labels, amounts)
    references = {
        name: MetricReference(value=value.value, low=value.low, high=value.high, rows=value.rows)
        for name, value in values.items()
        if value.value is not None
    }
    columns = {"amount": amounts, "region": region, PREDICTION: scores}
    profile = ReferenceProfile.build(LOANS, columns, model_version="v1", metrics=references, label_mean=0.5)
    predictions = [
        event(i, 3 * i / 300, model_version="v1", prediction=scores[i], features={"amount": amounts[i], "region": region[i]})  # noqa: E501
        for i in range(300)
    ]  # fmt: skip
    predictions.append(event(999, 19, model_version="v1", prediction=0.5, features={}))
    of = [event(i, 3 * i / 300 + 1, label=int(labels[i])) for i in range(300)]
    closing = event(999, 20, label=1)
    return judge(LOANS, profile, predictions, [*of[late:], closing, *of[:late]])


def test_value_exact_areas_and_groups_come_from_events(loans: tuple[Any, Any, Any, list[str | None]]) -> None:
    scores, labels, amounts, region = loans
    (whole,) = [report for report in loan_reports(loans) if report.segment == "" and report.status == "final"]
    found = by_name(whole)
    assert list(found) == ["roc_auc", "mcc", "mean_value", "demographic_parity_difference/region"]
    assert found["roc_auc"].error_bound == 0.0
    said = scores >= 0.5
    price = np.where(said, np.where(labels == 1, 10.0, -2.0), np.where(labels == 1, -5.0, 0.0))
    assert found["mean_value"].value == pytest.approx((price * amounts).mean(), rel=1e-12)
    assert found["mean_value"].decision == "ok"
    assert found["mean_value"].reference == pytest.approx(found["mean_value"].value)
    north = np.array(region) == "north"
    gap = found["demographic_parity_difference/region"]
    assert gap.value == pytest.approx(said[north].mean() - said[~north].mean(), rel=1e-12)
    assert gap.decision == "drift"
    assert whole.decision == "drift"
    assert whole.confusion == [[int(((labels == t) & (said == s)).sum()) for s in (False, True)] for t in (0, 1)]
    assert msgspec.json.decode(msgspec.json.encode(whole), type=WindowReport) == whole


def test_a_restated_report_has_the_gaps_of_all_rows(loans: tuple[Any, Any, Any, list[str | None]]) -> None:
    complete = {report.segment: report for report in loan_reports(loans)}
    reports = loan_reports(loans, late=60)
    final = next(report for report in reports if report.segment == "" and report.status == "final")
    restated = next(report for report in reports if report.segment == "" and report.status == "restated")
    assert (final.labeled_rows, restated.labeled_rows, restated.late_rows) == (240, 300, 60)
    name = "demographic_parity_difference/region"
    assert by_name(restated)[name] == by_name(complete[""])[name]
    assert by_name(final)[name].rows == 240


def test_a_ranking_model_is_watched_from_events() -> None:
    rng = np.random.default_rng(2)
    lists = [[int(item) for item in rng.permutation(5)] for _ in range(60)]
    tops: list[str | None] = [str(items[0]) for items in lists]
    profile = ReferenceProfile.build(
        PAGES,
        {"length": np.arange(60.0), PREDICTION: tops},
        model_version="v1",
        metrics={"ndcg_3": MetricReference(value=0.95, rows=1000)},
    )
    predictions = [
        event(i, 3 * i / 60, model_version="v1", features={"length": 1}, prediction=items if i % 2 else {"items": items})  # noqa: E501
        for i, items in enumerate(lists)
    ]  # fmt: skip
    predictions.append(event(999, 40, model_version="v1", features={}, prediction=[]))
    labels = [event(i, 3 * i / 60 + 1, label=["0"] if i % 3 else {"0": 2.5}) for i in range(60)]
    labels.append(event(30, 3 * 30 / 60 + 1.5, label=[1], revision=1))
    labels.append(event(999, 41, label=[]))
    (report,) = [report for report in judge(PAGES, profile, predictions, labels) if report.window_start_ms == START]
    found = by_name(report)
    assert next(iter(found)) == "mrr"
    places = [items.index(1 if i == 30 else 0) + 1 for i, items in enumerate(lists)]
    assert found["mrr"].value == pytest.approx(np.mean([1 / place for place in places]))
    assert found["hit_rate_1"].value == pytest.approx(np.mean([place == 1 for place in places]))
    assert found["ndcg_3"].decision == "drift"
    assert report.confusion is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'["a", "a"]', "twice"),
        (b'{"items": ["a", "b"], "scores": [0.1, 0.9]}', "order of their scores"),
        (b'{"items": ["a", "b"], "scores": [0.1]}', "give one for each"),
        (b"0.5", "Expected"),
    ],
)
def test_bad_rankings_are_refused_with_a_reason(raw: bytes, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        PredictionDecoder(PAGES).decode(raw)


def test_rankings_and_gains_are_decoded() -> None:
    assert PredictionDecoder(PAGES).decode(b'{"items": ["a", 7], "scores": [2, 2]}') == ("a", "7")
    assert LabelDecoder(PAGES).decode(b'["a", 7]') == {"a": 1.0, "7": 1.0}
    assert LabelDecoder(PAGES).decode(b'{"a": 2}') == {"a": 2.0}
    with pytest.raises(msgspec.ValidationError):
        LabelDecoder(PAGES).decode(b'{"a": -1}')

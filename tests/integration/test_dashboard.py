"""Every query of the dashboard, and every rule, against a real Prometheus that scrapes a metrics server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from driftloop.events.reports import EstimateComparison, MetricReport
from driftloop.observability import Metrics, serve
from support.events import alert, command, input_report, model_event, outcome_report
from support.prometheus import PrometheusServer

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "app/deploy/grafana/dashboards/driftloop.json").read_text(encoding="utf-8")
)
RULES = ROOT / "app/deploy/prometheus/rules/driftloop.yml"
MODELS = ("flights-late", "flights-delay")
#: What Grafana puts in for its own variables.
BUILT_IN = {"__rate_interval": "1m", "__range": "5m", "__interval": "15s"}

ESTIMATE = MetricReport(metric="accuracy~estimated", value=0.8, low=0.7, high=0.9, reference=0.82, rows=500)
COMPARISON = EstimateComparison(
    metric="accuracy~estimated",
    estimate=0.8,
    realised=0.78,
    difference=-0.02,
    labeled_rows=450,
    windows=3,
    mean_absolute_error=0.02,
)


def feed(metrics: Metrics, round_number: int) -> None:
    """What a worker with all roles reports in one round."""
    generator = np.random.default_rng(round_number)
    for topic in ("driftloop.predictions", "driftloop.labels"):
        metrics.batch(topic, 2_000, float(generator.uniform(0.005, 0.05)))
        for partition in range(2):
            metrics.progress(topic, partition, event_time_ms=86_400_000 * round_number, lag=10 * partition)
            metrics.pending(partition, 300, 200)
            metrics.waiting_labels(partition, 40, 20)
    metrics.dead_letter("bad_json")
    for model in MODELS:
        metrics.predictions(model, 1_000)
        metrics.labels(model, 900)
        metrics.joined(model, generator.lognormal(16, 1, 900))
        metrics.late(model, "driftloop.labels", 3)
        metrics.duplicates(model, "driftloop.predictions", 2)
        metrics.observe_report(structs.replace(input_report(model, day=round_number), estimated=[ESTIMATE]))
        metrics.observe_report(structs.replace(outcome_report(model, day=round_number), comparisons=[COMPARISON]))
        metrics.observe_alert(alert("opened", model=model, alert_id=f"a{round_number}"))
        metrics.observe_command(command(f"c{round_number}", model=model))
        metrics.observe_model_event(model_event("registered", f"v{round_number}", model=model, command_id=None))
        metrics.observe_model_event(
            model_event("promoted", f"v{round_number}", model=model, command_id=f"c{round_number}")
        )
        metrics.set_aliases(model, champion=f"v{round_number}", challenger=None)
        metrics.training(model, 3.5, "promoted")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    metrics = Metrics(features_per_model=1)
    metrics.declare(MODELS, ["bad_json"])
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        serve(metrics.registry, "127.0.0.1", 0, {}) as server,
        PrometheusServer(folder, {"driftloop-monitor": f"127.0.0.1:{server.port}"}, rules=[RULES]) as running,
    ):
        # Rates need samples before and after: wait until a scrape has each round.
        for round_number in (1, 2, 3):
            feed(metrics, round_number)
            running.wait_for(f"sum(driftloop_predictions_total) == {2_000 * round_number}")
        yield running


def filled_in(expression: str) -> str:
    values = {**BUILT_IN, "model": MODELS[0], "version": ".+", "metric": ".+"}
    return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], expression)


def panel_queries() -> list[tuple[str, str]]:
    return [
        (f"{panel['title']} {target['refId']}", target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize(("title", "expression"), panel_queries(), ids=lambda value: value.replace(" ", "-")[:40])
def test_every_panel_shows_something(prometheus: PrometheusServer, title: str, expression: str) -> None:
    result = prometheus.query(filled_in(expression))
    assert result, f"{title}: {expression} gives nothing"
    values = [float(series["value"][1]) for series in result]
    assert not np.isnan(values).all(), f"{title}: {expression} gives no number"


@pytest.mark.parametrize("annotation", DASHBOARD["annotations"]["list"], ids=lambda annotation: annotation["name"])
def test_every_annotation_is_found_over_time(prometheus: PrometheusServer, annotation: dict[str, Any]) -> None:
    deadline = time.monotonic() + 15
    while not (found := prometheus.query(filled_in(annotation["expr"]))):
        assert time.monotonic() < deadline, f"{annotation['expr']} gives nothing"
        time.sleep(0.3)
    names = set(re.findall(r"\{\{(\w+)\}\}", annotation["textFormat"]))
    assert names <= found[0]["metric"].keys()


@pytest.mark.parametrize("variable", DASHBOARD["templating"]["list"], ids=lambda variable: variable["name"])
def test_every_variable_has_values(prometheus: PrometheusServer, variable: dict[str, Any]) -> None:
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    values = prometheus.label_values(match.group(2), filled_in(match.group(1)))
    assert values
    if variable["name"] == "model":
        assert values == sorted(MODELS)


def test_legends_name_labels_that_are_there(prometheus: PrometheusServer) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            names = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for series in prometheus.query(filled_in(target["expr"])):
                assert names <= series["metric"].keys(), f"{panel['title']}: {target['legendFormat']}"


def test_tables_name_columns_that_are_there(prometheus: PrometheusServer) -> None:
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "table":
            continue
        columns = set(panel["transformations"][0]["options"]["renameByName"]) - {"Value"}
        for series in prometheus.query(filled_in(panel["targets"][0]["expr"])):
            assert columns <= series["metric"].keys(), panel["title"]


def test_every_rule_is_evaluated_and_an_open_alert_fires(prometheus: PrometheusServer) -> None:
    deadline = time.monotonic() + 20
    while any(rule["health"] == "unknown" for rule in prometheus.rules()) and time.monotonic() < deadline:
        time.sleep(0.3)
    rules = prometheus.rules()
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    firing = prometheus.wait_for('ALERTS{alertname="ModelDrift",alertstate="firing",model="flights-late"}', 20)
    assert firing[0]["metric"]["severity"] == "warning"

"""The dashboard "driftloop": which panels it has, row by row."""

from __future__ import annotations

from grafana.parts import (
    Json,
    Layout,
    annotation,
    increase,
    lines,
    newest,
    number,
    per_second,
    quantile,
    table,
    timeline,
    total,
    variable,
)

MODEL = 'model="$model"'
VERSION = f'{MODEL},version=~"$version"'
METRIC = f'{VERSION},metric=~"$metric"'
PROCESS = 'job=~"driftloop-.+"'


def build() -> Json:
    """The whole dashboard as Grafana reads it."""
    layout = Layout()
    for row in (all_models, drift, performance, loop, itself):
        row(layout)
    return {
        "uid": "driftloop",
        "title": "driftloop",
        "description": "Models in production: drift, realised performance, retraining, and driftloop's own health. "
        "The time axis is wall time; what a window says appears when it closes.",
        "tags": ["driftloop"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                variable("model", "Model", "label_values(driftloop_predictions_total, model)"),
                variable("version", "Version", f"label_values(driftloop_window_rows{{{MODEL}}}, version)", every=True),
                variable("metric", "Metric", f"label_values(driftloop_performance{{{MODEL}}}, metric)", every=True),
            ]
        },
        "annotations": {
            "list": [
                happened("Version promoted", "green", "model_events_total", 'kind="promoted"', "{{model}}"),
                happened("Alert opened", "red", "alerts_total", 'state="opened"', "{{model}}: {{kind}}"),
                happened("Retrain command", "blue", "retrain_commands_total", "", "{{model}}: {{trigger}}"),
            ]
        },
        "panels": layout.panels,
    }


def happened(name: str, color: str, counter: str, selector: str, text: str) -> Json:
    labels = ",".join(part for part in (MODEL, selector) if part)
    return annotation(name, color, f"increase(driftloop_{counter}{{{labels}}}[15s]) > 0", text)


def all_models(layout: Layout) -> None:
    layout.row("All models")
    for title, text, expression, unit, bad_from in (
        ("Open alerts", "Alerts on models, open now.", "sum(driftloop_alerts_open) or vector(0)", "short", 1),
        ("Predictions", "Predictions accepted.", per_second("predictions_total", ""), "reqps", None),
        ("Labels joined", "Labels joined to predictions.", per_second("labels_joined_total", ""), "reqps", None),
        ("Records to read", "Records not read yet.", total("consumer_lag", ""), "short", None),
        (
            "Dead letters, last hour",
            "Records that could not be read.",
            "sum(increase(driftloop_dead_letters_total[1h])) or vector(0)",
            "short",
            1,
        ),
        (
            "Open retrain commands",
            "Retrain commands without an outcome.",
            "sum(driftloop_retrain_commands_open) or vector(0)",
            "short",
            None,
        ),
    ):
        layout.add(number(title, text, expression, unit=unit, bad_from=bad_from), 4, 4)
    columns = {"model": "Model", "alias": "Alias", "version": "Version"}
    layout.add(table("Versions", "Which version each alias points at.", newest("model_info"), columns, "Model"), 8)
    columns = {"model": "Model", "kind": "Kind", "severity": "Severity", "Value": "Open"}
    layout.add(table("Alerts open", "By model, kind, severity.", newest("alerts_open") + " > 0", columns, "Open"), 8)
    layout.add(
        lines(
            "Share of drifted features",
            "Of the features judged in the newest closed window.",
            {"{{model}} {{version}}": newest("drifted_features_ratio")},
            unit="percentunit",
        ),
        8,
    )


def drift(layout: Layout) -> None:
    layout.row("Drift: $model")
    statistic, threshold = newest("drift_statistic", VERSION), newest("drift_threshold", VERSION)
    layout.add(
        lines(
            "Statistic over its threshold",
            "Every method with a threshold, in units of it: from 1 on it counts, if it is significant too.",
            {"{{version}} {{feature}} {{method}}": f"{statistic} / ({threshold} > 0)"},
            threshold=1,
        ),
        12,
        9,
    )
    layout.add(
        timeline(
            "Features that drift",
            "The decision, after correction for many features.",
            newest("drift_detected", VERSION),
            "{{version}} {{feature}}",
        ),
        12,
        9,
    )
    columns = {"version": "Version", "feature": "Feature", "method": "Method", "Value": "Statistic", "model": "Model"}
    text = "Every statistic of the newest closed window."
    layout.add(table("Statistics now", text, statistic, columns, "Statistic"), 12)
    text = "Predictions in the newest closed window, and in the newest closed cohort."
    layout.add(
        lines("Rows in the newest window", text, {"{{version}} {{kind}}": newest("window_rows", VERSION)}),
        12,
    )


def performance(layout: Layout) -> None:
    layout.row("Performance: $model")
    dotted = {"id": "custom.lineStyle", "value": {"fill": "dot", "dash": [2, 4]}}
    dashed = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}}
    band: list[Json] = [
        {"matcher": {"id": "byRegexp", "options": "/ (low|high)$/"}, "properties": [dotted]},
        {"matcher": {"id": "byRegexp", "options": "/ reference$/"}, "properties": [dashed]},
    ]
    layout.add(
        lines(
            "Realised performance",
            "With its confidence interval (dotted), against the version's validation data (dashed).",
            {
                "{{version}} {{metric}}": newest("performance", METRIC),
                "{{version}} {{metric}} low": newest("performance_low", METRIC),
                "{{version}} {{metric}} high": newest("performance_high", METRIC),
                "{{version}} {{metric}} reference": newest("performance_reference", METRIC),
            },
            minimum=None,
            overrides=band,
        ),
        12,
        9,
    )
    text = "Rules of the model's spec on realised performance."
    broken = newest("performance_drop_detected", VERSION)
    layout.add(timeline("Rules broken", text, broken, "{{version}} {{metric}}"), 12, 9)
    text = "Share of the newest closed cohort that has a label."
    coverage = {"{{version}}": newest("label_coverage_ratio", VERSION)}
    layout.add(lines("Label coverage", text, coverage, unit="percentunit"), 12)
    delays = {f"{share:.0%}": quantile(share, "label_delay_seconds", "", MODEL) for share in (0.5, 0.9, 0.99)}
    layout.add(lines("Label delay", "Quantiles of the time from prediction to label.", delays, unit="s"), 12)
    layout.add(
        lines(
            "Estimated before labels come",
            "From the newest closed window's predictions alone, with its interval (dotted).",
            {
                "{{version}} {{metric}}": newest("estimated_performance", VERSION),
                "{{version}} {{metric}} low": newest("estimated_performance_low", VERSION),
                "{{version}} {{metric}} high": newest("estimated_performance_high", VERSION),
            },
            minimum=None,
            overrides=band,
        ),
        12,
        9,
    )
    text = "Mean absolute difference of estimates from what was realised later: whether to trust them."
    trust = {"{{version}} {{metric}}": newest("estimate_mean_absolute_error", VERSION)}
    layout.add(lines("Error of the estimates", text, trust), 12, 9)


def loop(layout: Layout) -> None:
    layout.row("The loop: $model")
    for title, text, legend, expression in (
        (
            "Changes of alerts",
            "Alerts opened, still firing, resolved.",
            "{{kind}} {{state}}",
            increase("alerts_total", "kind, state", MODEL),
        ),
        (
            "Retrain commands",
            "Why the policy asked for a new version; since the process started.",
            "{{trigger}}",
            total("retrain_commands_total", "trigger", MODEL),
        ),
        (
            "Registry events",
            "What became of them; since the process started.",
            "{{kind}}",
            total("model_events_total", "kind", MODEL),
        ),
    ):
        layout.add(lines(title, text, {legend: expression}), 8)
    gates = {"{{gate}} {{result}}": total("gate_results_total", "gate, result", MODEL)}
    layout.add(lines("Gates", "Gates that challengers passed and failed.", gates), 12)
    seconds = total("training_duration_seconds_sum", "outcome", MODEL)
    runs = total("training_duration_seconds_count", "outcome", MODEL)
    mean = {"{{outcome}}": f"{seconds} / {runs}"}
    layout.add(lines("Training duration", "Mean of the training runs, by outcome.", mean, unit="s"), 12)


def itself(layout: Layout) -> None:
    layout.row("driftloop itself")
    down = f"1 - up{{{PROCESS}}}"
    layout.add(timeline("Processes down", "Red: it does not answer.", down, "{{job}} {{instance}}"), 8)
    for title, text, expressions, unit in (
        ("Records read", "Good and bad.", {"{{topic}}": per_second("records_total", "topic")}, "reqps"),
        ("Lag", "Records not read yet.", {"{{topic}}": total("consumer_lag", "topic")}, "short"),
        (
            "Time to handle a batch",
            "Of the record batches of the hot path.",
            {f"{{{{topic}}}} {share:.0%}": quantile(share, "batch_seconds", "topic") for share in (0.5, 0.99)},
            "s",
        ),
        (
            "Event time",
            "Of the slowest partition, and up to where windows are closed.",
            {
                "{{topic}}": "min by (topic) (driftloop_event_timestamp_seconds) * 1000",
                "{{model}} {{kind}}": "max by (model, kind) (driftloop_window_last_end_timestamp_seconds) * 1000",
            },
            "dateTimeAsIso",
        ),
        (
            "Windows reported",
            "Final and restated, by decision.",
            {
                "{{model}} {{kind}} {{status}} {{decision}}": per_second(
                    "windows_total", "model, kind, status, decision"
                )
            },
            "ops",
        ),
        (
            "Bad, late and duplicate records",
            "Dead letters by reason; late and duplicate records by model.",
            {
                "dead: {{reason}}": per_second("dead_letters_total", "reason"),
                "late: {{model}}": per_second("late_records_total", "model"),
                "duplicate: {{model}}": per_second("duplicates_total", "model"),
            },
            "reqps",
        ),
        (
            "Pending predictions, waiting labels",
            "Predictions that wait for their label, and labels that came before their prediction.",
            {"predictions": total("pending_predictions", ""), "labels": total("waiting_labels", "")},
            "short",
        ),
        (
            "Memory",
            "Of each process.",
            {"{{job}} {{instance}}": f"process_resident_memory_bytes{{{PROCESS}}}"},
            "bytes",
        ),
        (
            "Processor",
            "Cores that each process keeps busy.",
            {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])"},
            "short",
        ),
    ):
        layout.add(lines(title, text, expressions, unit=unit), 8)
    dropped = "sum by (metric) (increase(driftloop_series_dropped_total[1h]))"
    text = "Label sets that found no room: what is shown is a part."
    layout.add(lines("Series dropped, last hour", text, {"{{metric}}": dropped}), 8)

"""How a panel, a variable or an annotation of a Grafana dashboard is written: plain dictionaries."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "driftloop-prometheus"}
WIDTH = 24


class Layout:
    """Puts panels into rows of 24 columns and numbers them."""

    def __init__(self) -> None:
        self.panels: list[Json] = []
        self._x = self._y = self._height = 0

    def row(self, title: str) -> None:
        self._break()
        self.panels.append(
            {
                "id": len(self.panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": self._y, "w": WIDTH, "h": 1},
            }
        )
        self._y += 1

    def add(self, panel: Json, width: int, height: int = 8) -> None:
        if self._x + width > WIDTH:
            self._break()
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, **panel, "gridPos": place})
        self._x += width
        self._height = max(self._height, height)

    def _break(self) -> None:
        self._y += self._height
        self._x = self._height = 0


def queries(expressions: dict[str, str], *, instant: bool = False) -> list[Json]:
    """Targets from legend to PromQL."""
    return [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "range": not instant,
            "instant": instant,
            **({"format": "table"} if instant else {}),
        }
        for index, (legend, expression) in enumerate(expressions.items())
    ]


def panel(kind: str, title: str, text: str, targets: list[Json], **more: Any) -> Json:
    defaults = {"custom": {}, "mappings": [], **more.pop("defaults", {})}
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "options": more.pop("options", {}),
        **more,
    }


def lines(
    title: str,
    text: str,
    expressions: dict[str, str],
    *,
    unit: str = "short",
    threshold: float | None = None,
    minimum: float | None = 0,
    overrides: list[Json] | None = None,
) -> Json:
    """Lines over time; ``threshold`` draws a red line there."""
    custom: Json = {"lineWidth": 2, "fillOpacity": 0, "showPoints": "never", "spanNulls": False}
    defaults: Json = {"unit": unit, "custom": custom}
    if minimum is not None:
        defaults["min"] = minimum
    if threshold is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
        steps = [{"color": "transparent", "value": None}, {"color": "red", "value": threshold}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel(
        "timeseries", title, text, queries(expressions), defaults=defaults, options=options, overrides=overrides or []
    )


def number(title: str, text: str, expression: str, *, unit: str = "short", bad_from: float | None = None) -> Json:
    """One number; it turns red from ``bad_from`` on."""
    steps: list[Json] = [{"color": "green", "value": None}]
    if bad_from is not None:
        steps.append({"color": "red", "value": bad_from})
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}, "noValue": "-"}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
    }
    return panel("stat", title, text, queries({"": expression}), defaults=defaults, options=options)


def table(title: str, text: str, expression: str, columns: dict[str, str], sort_by: str) -> Json:
    """A table of labels and the value; ``columns`` maps label (or Value) to heading, in order."""
    organise = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": columns,
    }
    return panel(
        "table",
        title,
        text,
        queries({"": expression}, instant=True),
        options={"showHeader": True, "sortBy": [{"displayName": sort_by, "desc": True}]},
        transformations=[{"id": "organize", "options": organise}],
    )


def timeline(title: str, text: str, expression: str, legend: str) -> Json:
    """Zero and one over time, green and red."""
    states = {"0": {"text": "ok", "color": "green", "index": 0}, "1": {"text": "drift", "color": "red", "index": 1}}
    return panel(
        "state-timeline",
        title,
        text,
        queries({legend: expression}),
        defaults={"custom": {"fillOpacity": 80, "lineWidth": 0}, "mappings": [{"type": "value", "options": states}]},
        options={
            "showValue": "never",
            "mergeValues": True,
            "rowHeight": 0.9,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        },
    )


def annotation(name: str, color: str, expression: str, text: str) -> Json:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expression,
        "step": "15s",
        "titleFormat": name,
        "textFormat": text,
    }


def variable(name: str, label: str, query: str, *, every: bool = False) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "refresh": 2,
        "sort": 1,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "multi": every,
        "includeAll": every,
        **({"allValue": ".+", "current": {"text": "All", "value": "$__all"}} if every else {}),
    }


def newest(metric: str, selector: str = "") -> str:
    """A gauge as its owner shows it, whichever process that is."""
    return f"max without (instance, job) (driftloop_{metric}{{{selector}}})"


def per_second(metric: str, by: str, selector: str = "") -> str:
    """A counter's rate, summed by labels (none: over all)."""
    return _summed(f"rate(driftloop_{metric}{{{selector}}}[$__rate_interval])", by)


def increase(metric: str, by: str, selector: str = "") -> str:
    return _summed(f"increase(driftloop_{metric}{{{selector}}}[$__rate_interval])", by)


def total(metric: str, by: str, selector: str = "") -> str:
    return _summed(f"driftloop_{metric}{{{selector}}}", by)


def quantile(share: float, metric: str, by: str = "", selector: str = "") -> str:
    """A quantile of a histogram's recent values."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {per_second(metric + '_bucket', labels, selector)})"


def _summed(expression: str, by: str) -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"

"""Prometheus' configuration, rules and their tests, the runbooks, and that rules use what is exported."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftloop.observability import Metrics
from support.prometheus import require_program

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "app/deploy/prometheus"
RULES = PROMETHEUS / "rules/driftloop.yml"
RUNBOOKS = ROOT / "docs/runbooks"


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def exported() -> set[str]:
    """Names of the series of every family, with the suffixes that histograms add."""
    names: set[str] = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", str(PROMETHEUS / "prometheus.yml")],
        ["check", "rules", str(RULES)],
        ["test", "rules", str(Path(__file__).parent / "rules_test.yml")],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool(arguments: list[str]) -> None:
    result = subprocess.run(
        [require_program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    for rule in alerts():
        # The alerts on models bring their severity along, as a label of the series.
        assert rule["labels"].get("severity") in ("warning", "critical") or "driftloop_alerts_open" in rule["expr"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    names = {rule["alert"] for rule in alerts()}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names | {"README"}
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == names


def test_every_alert_is_tested() -> None:
    tested = (Path(__file__).parent / "rules_test.yml").read_text(encoding="utf-8")
    for rule in alerts():
        assert rule["alert"] in tested, f"{rule['alert']} has no test in rules_test.yml"


def test_rules_use_exported_metrics() -> None:
    recorded = {
        rule["record"]
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    known = exported() | recorded
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            for name in re.findall(r"[a-z:]*driftloop_[a-z_0-9:]+", rule["expr"]):
                assert name in known, f"{rule.get('alert', rule.get('record'))} uses {name}, which is not exported"

"""The dashboard's file: generated, whole, and provisioned with the data source that it names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "app/deploy/grafana"
FILE = GRAFANA / "dashboards/driftloop.json"


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document


def test_the_file_is_what_the_script_writes() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts/dashboard"), "--check"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


def test_panels_have_an_id_a_text_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_everything_asks_the_provisioned_source(dashboard: dict[str, Any]) -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    (source,) = provisioned["datasources"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert source["url"].split("/")[2].split(":")[0] in compose["services"]
    used = {
        (place["datasource"]["type"], place["datasource"]["uid"])
        for panel in dashboard["panels"]
        if panel["type"] != "row"
        for place in [panel, *panel["targets"]]
    }
    used |= {(place["datasource"]["type"], place["datasource"]["uid"]) for place in dashboard["templating"]["list"]}
    used |= {(place["datasource"]["type"], place["datasource"]["uid"]) for place in dashboard["annotations"]["list"]}
    assert used == {(source["type"], source["uid"])}


def test_the_provider_reads_the_folder_that_compose_mounts() -> None:
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/driftloop.yml").read_text(encoding="utf-8"))
    (provider,) = providers["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./app/deploy/grafana/dashboards"] == provider["options"]["path"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{FILE.name}"


def test_variables_are_declared(dashboard: dict[str, Any]) -> None:
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"\$(\w+)", target["expr"])
    }
    assert used - {"__rate_interval", "__range", "__interval"} <= declared

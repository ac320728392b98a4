"""topics, publish, alerts tail and doctor against the embedded broker."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from conftest import SettingsFor
from driftloop.cli import alerts as alerts_command
from driftloop.cli import topics as topics_command
from driftloop.cli.doctor import doctor
from driftloop.cli.publish import publish
from driftloop.events.messages import Alert
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import EmbeddedBroker, free_port
from driftloop.kafka.log_reader import read_topic
from driftloop.kafka.producer import Producer
from driftloop.settings import Settings

pytestmark = pytest.mark.broker

SPEC = "{model: churn, task: binary, features: {age: {kind: numeric}}}"


def program() -> typer.Typer:
    app = typer.Typer()
    app.command("publish")(publish)
    app.command("doctor")(doctor)
    app.add_typer(topics_command.app, name="topics")
    app.add_typer(alerts_command.app, name="alerts")
    return app


def run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(program(), list(arguments), input=stdin)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def settings(
    embedded_broker: EmbeddedBroker, settings_for: SettingsFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The settings that the commands will find in the environment."""
    settings = settings_for(embedded_broker, specs=tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    for name in ("bootstrap", "topic_prefix", "data_dir", "specs"):
        monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}", str(getattr(settings, name)))
    return settings


def test_topics_create_and_check(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, errors = run("topics", "check")
    assert (code, errors.count("is missing: run `driftloop topics create`")) == (1, 11)
    code, out, _ = run("topics", "create")
    assert (code, out.count("created ")) == (0, 11)
    code, out, _ = run("topics", "create", "--json")
    assert code == 0
    assert json.loads(out)["created"] == []
    code, out, _ = run("topics", "check")
    assert code == 0
    assert "keyed by" in out
    monkeypatch.setenv("DRIFTLOOP_SOURCE_PARTITIONS", "9")
    code, out, _ = run("topics", "check", "--json")
    assert code == 1
    assert {topic["found"] for topic in json.loads(out) if topic["problem"]} == {4}
    code, _, errors = run("topics", "create")
    assert code == 1
    assert "the settings ask for 9" in errors


def test_publish_sends_good_lines_and_names_bad_ones(settings: Settings, tmp_path: Path) -> None:
    create_topics(settings)
    prediction = (
        '{"prediction_id":"p1","model_id":"m","model_version":"v1","event_time_ms":1,'
        '"features":{"a":1},"prediction":0.5}'
    )
    label = '{"prediction_id":"p1","model_id":"m","event_time_ms":2,"label":1}'
    file = tmp_path / "events.jsonl"
    file.write_text(f"{prediction}\n\n{label}\n", "utf-8")
    code, out, _ = run("publish", str(file), "--json")
    assert (code, json.loads(out)) == (0, {"predictions": 1, "labels": 1, "refused": 0})
    bad = [
        "{not json",
        '{"a": 1}',
        '{"prediction_id":"p1","model_id":"m","event_time_ms":"x","label":1}',
        "[1]",
    ]
    code, out, errors = run("publish", "-", stdin="\n".join([*bad, label]))
    assert code == 1
    assert "published 0 predictions and 1 labels" in out
    assert "4 lines refused" in out
    assert [line.split(":")[1] for line in errors.splitlines()] == ["1", "2", "3", "4"]
    assert "$.event_time_ms" in errors
    config = client_config(settings)
    assert [r.value for b in read_topic(config, settings.topics.predictions) for r in b] == [prediction.encode()]
    labels = [(r.key, r.value) for b in read_topic(config, settings.topics.labels) for r in b]
    assert labels == [(b"p1", label.encode())] * 2


def test_publish_of_no_file(settings: Settings) -> None:
    code, _, errors = run("publish", "nothing.jsonl")
    assert code == 1
    assert "nothing.jsonl" in errors


def test_alerts_tail(settings: Settings) -> None:
    create_topics(settings)
    with Producer(client_config(settings)) as producer:
        for state in ("opened", "resolved"):
            alert = Alert(
                alert_id="a",
                event_id=f"a-{state}",
                model_id="churn",
                model_version="v1",
                kind="drift",
                subject="age",
                segment="city=[red]",
                state=state,  # type: ignore[arg-type]
                severity="critical",
                window_start_ms=1_359_676_800_000,
                window_end_ms=1_359_763_200_000,
                opened_at_ms=1_359_676_800_000,
                report_id="r",
                statistic=0.4,
                threshold=0.25,
                message="age is higher than the reference",
            )
            producer.produce(settings.topics.alerts, msgspec.json.encode(alert), b"churn")
    code, out, _ = run("alerts", "tail", "--from-beginning", "--no-follow")
    assert code == 0
    assert out.splitlines() == [
        "2013-02-01  opened    critical  churn v1  drift  age [city=[red]]: age is higher than the reference",
        "2013-02-01  resolved  critical  churn v1  drift  age [city=[red]]: age is higher than the reference",
    ]
    code, out, _ = run("alerts", "tail", "--from-beginning", "--for", "1", "--json", "--model", "churn")
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["opened", "resolved"]
    assert run("alerts", "tail", "--no-follow")[:2] == (0, "")


def test_alerts_without_topics(settings: Settings) -> None:
    code, _, errors = run("alerts", "tail", "--no-follow")
    assert code == 1
    assert "driftloop topics create" in errors


def test_doctor_finds_what_is_missing_and_then_nothing(settings: Settings) -> None:
    code, out, _ = run("doctor")
    assert code == 1
    assert "11 topics are missing" in out
    assert "DRIFTLOOP_SPECS" in out
    create_topics(settings)
    settings.specs.mkdir()
    (settings.specs / "churn.yaml").write_text(SPEC, "utf-8")
    code, out, _ = run("doctor", "--json")
    assert code == 0
    assert {finding["check"]: finding["result"] for finding in json.loads(out)["findings"]} == {
        "broker": "ok",
        "topics": "ok",
        "database": "ok",
        "artifacts": "ok",
        "specs": "ok",
        "training": "ok",
    }
    assert not settings.data_dir.exists(), "the doctor must change nothing"


def test_doctor_shows_no_secrets_and_skips_what_it_cannot_reach(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", f"127.0.0.1:{port}")
    monkeypatch.setenv("DRIFTLOOP_SASL_PASSWORD", "geheim")
    monkeypatch.setenv("DRIFTLOOP_DATABASE_URL", f"postgresql://me:geheim@127.0.0.1:{port}/x?connect_timeout=1")
    code, out, errors = run("doctor")
    assert code == 1
    assert "geheim" not in out + errors
    assert "set DRIFTLOOP_BOOTSTRAP" in out
    assert "not checked, because the broker does not answer" in out
    assert "start the database or set DRIFTLOOP_DATABASE_URL" in out

"""A version trained by a command from the topics is made again from them, and one of its predictions audited."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from driftloop.client import Publisher
from driftloop.events.decisions import RetrainCommand
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.kafka.producer import Producer
from driftloop.registry import ArtifactStore, Registry, create_schema, open_engine
from driftloop.training.bootstrap import register_first_version
from driftloop.training.run import CommandRunner
from driftloop.training.service import labeled_log
from support.training_rows import make_labeled, make_rows, make_spec
from support.world import Process

pytestmark = pytest.mark.broker

AT_MS = 1_700_000_000_000


def test_the_commands_on_real_topics(embedded_broker: EmbeddedBroker, settings_for, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(embedded_broker, specs=tmp_path / "models")
    settings.specs.mkdir(parents=True)
    spec = make_spec()
    (settings.specs / "m.yaml").write_bytes(msgspec.json.encode(spec))
    create_topics(settings)
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    register_first_version(registry, spec, *make_rows(seed=1, sign=-1.0), 100)
    frame, labels, times = make_rows()
    with Producer(client_config(settings)) as producer:
        for row in make_labeled(spec, frame, labels, times + AT_MS):
            producer.produce(settings.topics.labeled, msgspec.json.encode(row), row.prediction_id.encode())
    command = RetrainCommand(
        command_id="a" * 32,
        model_id="m",
        champion_version="v1",
        trigger="performance",
        reason="roc_auc fell",
        window_end_ms=AT_MS,
        from_ms=AT_MS,
        to_ms=AT_MS + 10**9,
    )
    runner = CommandRunner(
        {"m": spec}, registry, labeled_log(settings), labeled_topic=settings.topics.labeled, folder=tmp_path / "trainer"
    )
    assert runner.run(command).version == "v2"
    publisher = Publisher(settings.bootstrap, topic_prefix=settings.topic_prefix)
    for at in range(50):
        publisher.prediction(
            "m", "v2", {"x": 0.1 * at, "colour": "red", "noise": 0.0}, 0.5, prediction_id=f"q{at}",
            event_time_ms=AT_MS + 10**9 + at,
        )  # fmt: skip
        publisher.label("m", f"q{at}", True, event_time_ms=AT_MS + 10**9 + 60_000 + at)
    publisher.close()
    engine.dispose()

    def run(*arguments: str) -> str:
        log = tmp_path / f"{arguments[0]}.log"
        process = Process(settings, *arguments, log=log, life_s=100)
        assert process.process.wait(100) == 0, log.read_text()
        return log.read_text()

    told = run("reproduce", "m", "v2", "--from-log")
    assert "everything is equal" in told
    assert f"cut again from {settings.topics.labeled}" in told
    page = tmp_path / "page.json"
    run("audit", "q7", "--format", "json", "--output", str(page))
    content = json.loads(page.read_text())
    assert (content["model_version"], content["champion_then"]) == ("v2", "v2")
    assert content["version"]["compared_with"] == "v1"
    assert content["moved"]["exact"] is True
    assert content["outcome"]["delay_ms"] == 60_000
    assert not content["outcome"]["joined"]
    assert {one["feature"] for one in content["standings"]} >= {"x", "colour", "noise"}

"""A training handed over through the real topics: a trainer process, a foreign one that reports, the same events."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from pathlib import Path

import pytest
import skops.io

from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.spec.handover import HandoverSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.estimators import fit
from driftloop.training.handover.signature import key_of, refusal, signed_headers
from integration.test_trainer import World, command
from support.fake_airflow import Answer, HttpServer, reply
from support.training_rows import make_spec
from support.world import wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_webhook_trains_and_reports_and_the_trainer_goes_on_meanwhile(
    embedded_broker: EmbeddedBroker,
    settings_for,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = settings_for(
        embedded_broker,
        specs=tmp_path / "models",
        metrics_port=port,
        handover_key=KEY,
        handover_report_url=f"http://127.0.0.1:{port}",
    )
    came: list[tuple[dict[str, str], bytes]] = []

    def take(path: str, headers: dict[str, str], body: bytes) -> Answer:
        came.append((headers, body))
        return reply(202, {})

    with HttpServer(take) as webhook:
        spec = make_spec(training={"handover": HandoverSpec(to="webhook", url=f"{webhook.url}/train")})
        own = make_spec(model="own")
        world = World(settings, [spec, own], tmp_path)
        try:
            trainer = world.trainer()
            world.send(command("a"), command("b", "own"))
            wait_for("the request", lambda: bool(came), trainer)
            wait_for("the other model's training", lambda: world.finished("b"), trainer)
            assert not world.finished("a"), "it waits, and nobody waits for it"
            headers, body = came[0]
            assert refusal(key_of(KEY), headers, body, time.time()) is None

            data = json.loads(body)["data"]
            given = TrainingSet.from_parquet(spec, world.registry.store.read(data["dataset"]["uri"]))
            model = bytes(skops.io.dumps(fit(make_spec(), given.frame, given.labels)))
            artifact = world.registry.store.put_bytes(model, ".skops")
            result = json.dumps(
                {
                    "command_id": data["command_id"],
                    "status": "succeeded",
                    "artifact": {"uri": artifact.uri, "sha256": hashlib.sha256(model).hexdigest()},
                }
            ).encode()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            path = data["report"]["url"].partition(str(port))[2]
            sent = signed_headers(key_of(KEY), "result-1", int(time.time()), result)
            connection.request("POST", path, result, {"Content-Type": "application/json", **sent})
            response = connection.getresponse()
            assert (response.status, response.read() != b"") == (202, True)

            wait_for("command a", lambda: world.finished("a"), trainer)
            wait_for("the events", lambda: len(world.events("a")) == 2, trainer)
            assert [event.kind for event in world.events("a")] == ["registered", "promoted"]
            assert world.events("a")[-1].artifact_sha256 == artifact.sha256
            assert "trained by webhook at" in world.events("a")[0].reason
            assert len(came) == 1
            assert trainer.stop() == 0, trainer.text()
        finally:
            world.close()

"""What every process of driftloop is made of: settings, specs, database, producer, metrics."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from sqlalchemy import Engine

from driftloop.kafka.config import client_config
from driftloop.kafka.producer import Producer
from driftloop.observability.metrics import Metrics
from driftloop.registry import ArtifactStore, AssessmentStore, Registry, Relay, create_schema, kafka_sender, open_engine
from driftloop.registry.outbox import MESSAGE_TIMEOUT_MS
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, load_specs, spec_digest
from driftloop.streaming.catalog import RegistryCatalog

__all__ = ["Runtime", "open_runtime"]


@dataclass
class Runtime:
    """Opened once at the start of a process."""

    settings: Settings
    specs: dict[str, ModelSpec]
    engine: Engine
    registry: Registry
    assessments: AssessmentStore
    catalog: RegistryCatalog
    producer: Producer
    relay: Relay
    metrics: Metrics
    worker_id: str

    def close(self) -> None:
        self.engine.dispose()


def open_runtime(settings: Settings, *, metrics: Metrics | None = None, engine: Engine | None = None) -> Runtime:
    """Open everything that the settings name; it waits for the database. Raises errors that say what to do.

    ``engine``: one of that database, which is opened otherwise.
    """
    specs = load_specs(settings.specs)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.resolved_database_url) if engine is None else engine
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(settings.resolved_artifacts))
    for spec in specs.values():
        registry.ensure_model(spec.model, spec.task, spec_digest(spec))
    producer = Producer(client_config(settings))
    relaying = client_config(settings, message_timeout_ms=MESSAGE_TIMEOUT_MS)
    return Runtime(
        settings=settings,
        specs=specs,
        engine=engine,
        registry=registry,
        assessments=AssessmentStore(engine),
        catalog=RegistryCatalog(specs, registry),
        producer=producer,
        relay=Relay(engine, kafka_sender(Producer(relaying), settings.topics)),
        metrics=Metrics() if metrics is None else metrics,
        worker_id=f"{socket.gethostname()}-{os.getpid()}",
    )

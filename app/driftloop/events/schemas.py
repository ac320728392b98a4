"""JSON Schemas of the events and an AsyncAPI document of the topics, made from the code that reads and writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from driftloop.events.decisions import ModelEvent, PolicyDecision, RetrainCommand
from driftloop.events.messages import Alert, Label, Labeled, PartialMessage, Prediction, SourceProgress
from driftloop.events.reports import WindowReport
from driftloop.events.topics import Topics

__all__ = ["documents"]

_EVENTS: dict[str, Any] = {
    "predictions": Prediction,
    "labels": Label,
    "labeled": Labeled,
    "window-partials": PartialMessage,
    "monitor-progress": SourceProgress,
    "window-reports": WindowReport,
    "alerts": Alert,
    "policy-decisions": PolicyDecision,
    "retrain-commands": RetrainCommand,
    "model-events": ModelEvent,
}


def documents() -> dict[str, dict[str, Any]]:
    """File name to document."""
    files = {f"{name}.json": _schema(name, event) for name, event in _EVENTS.items()}
    files["asyncapi.json"] = _asyncapi()
    return files


def _schema(name: str, event: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(event)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"driftloop/{name}.json", **schema}


def _asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 with Kafka bindings 0.5.0."""
    topics = Topics()
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for plan in topics.plans():
        name = plan.name.removeprefix(f"{topics.prefix}.")
        message: dict[str, Any] = {
            "name": name,
            "summary": plan.holds,
            "bindings": {"kafka": {"key": {"type": "string", "description": plan.key}, "bindingVersion": "0.5.0"}},
        }
        if name in _EVENTS:
            message["contentType"] = "application/json"
            message["payload"] = {"$ref": f"./{name}.json"}
        messages[name] = message
        retention = {} if plan.retention_ms < 0 else {"retention.ms": plan.retention_ms}
        channels[name] = {
            "address": plan.name,
            "description": plan.holds,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {
                "kafka": {
                    "topic": plan.name,
                    "partitions": plan.partitions,
                    "topicConfiguration": {"cleanup.policy": plan.cleanup_policy.split(","), **retention},
                    "bindingVersion": "0.5.0",
                }
            },
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "driftloop",
            "version": "1.0.0",
            "description": "Topics under the default prefix and with the default numbers of partitions.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "components": {"messages": messages},
    }

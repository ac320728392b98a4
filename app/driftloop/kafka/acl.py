"""What each part of driftloop, and each person, needs to be allowed to do at the broker, and nothing more.

Kafka's authorizer knows allowances by principal (``User:...``). Who may write to a topic may also describe it, and an
idempotent producer needs no right of its own (KIP-679).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from driftloop.kafka.admin import BrokerError
from driftloop.kafka.config import client_config

if TYPE_CHECKING:
    from driftloop.settings import Settings

__all__ = ["COMPONENTS", "Component", "Right", "create_acls", "rights_of"]

Component = Literal["monitor", "assessor", "trainer", "topics", "replay", "service", "subscriber", "operator"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
Operation = Literal["read", "write", "create", "describe", "describe_configs"]

#: The group that readers of single partitions name, because the client asks for one. They commit nothing.
_READERS_GROUP = "driftloop-log-reader"
#: What Tansu, the embedded broker, calls its cluster unless told otherwise.
_EMBEDDED = "tansu_cluster"


@dataclass(frozen=True, order=True)
class Right:
    """One allowance: ``operation`` on the topic or group ``name``, or on all whose names begin with it."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation
    prefixed: bool = False


def rights_of(component: str, settings: Settings) -> list[Right]:
    """What one of :data:`COMPONENTS` needs, with the prefix and group names of the settings."""
    topics, app = settings.topics, settings.app_id
    outbox = [
        topics.window_reports,
        topics.alerts,
        topics.policy_decisions,
        topics.retrain_commands,
        topics.model_events,
    ]
    everything = [plan.name for plan in topics.plans()]
    match component:
        case "monitor":
            rights = _read(topics.predictions, topics.labels, topics.monitor_progress)
            rights += _write(topics.labeled, topics.window_partials, topics.monitor_progress, topics.dead_letters)
            return sorted({*rights, *_groups(f"{app}-monitor", _READERS_GROUP)})
        case "assessor":
            rights = _read(topics.window_partials, topics.model_events) + _write(topics.dead_letters, *outbox)
            # A report names the logs that it was made from.
            rights += [Right("topic", topic, "describe") for topic in (topics.predictions, topics.labels)]
            return sorted({*rights, *_groups(f"{app}-assessor", _READERS_GROUP)})
        case "trainer":
            # How far monitors are says what has matured, for comparisons in shadow.
            rights = _read(topics.retrain_commands, topics.labeled, topics.monitor_progress)
            rights += _write(topics.dead_letters, *outbox)
            # It checks at its start that every topic is there.
            rights += [Right("topic", f"{topics.prefix}.", "describe", prefixed=True)]
            return sorted({*rights, *_groups(f"{app}-trainer", _READERS_GROUP)})
        case "topics":
            prefix = f"{topics.prefix}."
            return [Right("topic", prefix, "create", True), Right("topic", prefix, "describe", True)]
        case "replay":
            return sorted({*_read(*everything), *_groups(_READERS_GROUP)})
        case "service":
            rights = _read(topics.model_events) + _write(topics.predictions, topics.labels)
            return sorted({*rights, *_groups(_READERS_GROUP)})
        case "subscriber":
            return sorted({*_read(topics.alerts, topics.model_events), *_groups(_READERS_GROUP)})
        case "operator":
            # A decision goes into the outbox, and whoever made it publishes what waits there; doctor checks all topics.
            return sorted({*_write(*outbox), Right("topic", f"{topics.prefix}.", "describe", prefixed=True)})
        case _:
            raise ValueError(f"there is no component {component!r}; there are {', '.join(COMPONENTS)}")


def _read(*topics: str) -> list[Right]:
    return [Right("topic", topic, operation) for topic in topics for operation in ("read", "describe")]


def _write(*topics: str) -> list[Right]:
    return [Right("topic", topic, operation) for topic in topics for operation in ("write", "describe")]


def _groups(*names: str) -> list[Right]:
    return [Right("group", name, "read") for name in names]


def create_acls(settings: Settings, component: str, principal: str, timeout_s: float = 30.0) -> list[Right]:
    """Allow the principal (``User:name``) what the component needs. What is allowed already stays as it is.

    Raises :class:`BrokerError` if the broker has no authorizer, refuses, or does not answer.
    """
    rights = rights_of(component, settings)
    bindings = [_binding(right, principal) for right in rights]
    admin = AdminClient(client_config(settings))  # kept: its requests end with it
    try:
        # It has no access lists, and the client library aborts the process over its answer.
        if admin.list_topics(timeout=min(timeout_s, 10.0)).cluster_id == _EMBEDDED:
            raise BrokerError("the embedded broker has no access lists; ask a Kafka with an authorizer")
        for future in admin.create_acls(bindings, request_timeout=timeout_s).values():
            future.result(timeout_s + 5.0)
    except KafkaException as error:
        raise BrokerError(f"cannot allow {principal} what {component} needs: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise BrokerError(f"cannot allow {principal} what {component} needs: no answer in time") from error
    return rights


def _binding(right: Right, principal: str) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC if right.resource == "topic" else ResourceType.GROUP,
        right.name,
        ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[right.operation.upper()],
        AclPermissionType.ALLOW,
    )

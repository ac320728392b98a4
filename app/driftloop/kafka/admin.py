"""Creates and checks the topics, waits for the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from driftloop.kafka.config import ClientConfig, client_config
from driftloop.kafka.producer import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from driftloop.events.topics import TopicPlan
    from driftloop.settings import Settings

__all__ = [
    "BrokerError",
    "CreatedTopics",
    "TopicCheck",
    "check_topics",
    "create_topics",
    "log_ids",
    "wait_for_broker",
]


class BrokerError(RuntimeError):
    """The broker is not reachable or refuses what was asked. The message says what to do."""


@dataclass
class CreatedTopics:
    """Names of the topics that were made and of those that were there already."""

    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TopicCheck:
    """One topic: partitions wanted and found (None: not there). ``problem`` None: all is well."""

    name: str
    wanted: int
    found: int | None
    problem: str | None


def wait_for_broker(
    config: ClientConfig, timeout_s: float = 30.0, *, given_up: Callable[[], bool] = lambda: False
) -> bool:
    """True when a broker answers, False when ``given_up()``, which is asked about every second. Raises
    :class:`BrokerError` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    # Lines about refused connections are expected here.
    admin = AdminClient({**config, "log_level": 0})
    while not given_up():
        left_s = deadline - time.monotonic()
        try:
            if admin.list_topics(timeout=min(1.0, max(0.1, left_s))).brokers:
                return True
            reason = "it names no brokers"
        except KafkaException as error:
            reason = error.args[0].str()
        if time.monotonic() >= deadline:
            raise BrokerError(
                f"no answer from {config.get('bootstrap.servers')} within {timeout_s:g} s ({reason}); "
                "start the broker, or set DRIFTLOOP_BOOTSTRAP to its host:port"
            )
        time.sleep(0.1)
    return False


def log_ids(config: ClientConfig, topics: Iterable[str], timeout_s: float = 30.0) -> tuple[str, ...]:
    """The cluster's own id, and those of the topics: one that was deleted and made again has another. Raises
    :class:`BrokerError` if the broker does not tell."""
    names = list(topics)
    try:
        admin = AdminClient(config)
        cluster = admin.list_topics(timeout=timeout_s).cluster_id
        found = admin.describe_topics(TopicCollection(names), request_timeout=timeout_s)
        return (str(cluster), *(str(found[name].result().topic_id) for name in names))
    except KafkaException as error:
        raise BrokerError(
            f"{config.get('bootstrap.servers')} does not describe {' and '.join(names)}: {error.args[0].str()}"
        ) from error


def check_topics(settings: Settings, timeout_s: float = 10.0) -> list[TopicCheck]:
    """Every topic of driftloop against the partition count that the settings ask for."""
    found = _partition_counts(AdminClient(client_config(settings)), timeout_s)
    return [_check(plan, found.get(plan.name)) for plan in settings.topics.plans()]


def create_topics(settings: Settings, timeout_s: float = 30.0) -> CreatedTopics:
    """Creates the topics that are not there; running it again changes nothing.

    Raises :class:`BrokerError` if the broker refuses, or if a topic exists with another number of partitions: keys
    would live elsewhere, and predictions and labels would no longer meet.
    """
    admin = AdminClient(client_config(settings))
    found = _partition_counts(admin, timeout_s)
    plans = settings.topics.plans()
    wrong = [check.problem for plan in plans if (check := _check(plan, found.get(plan.name))).problem and check.found]
    if wrong:
        raise BrokerError("; ".join(str(problem) for problem in wrong))
    result = CreatedTopics(existing=[plan.name for plan in plans if plan.name in found])
    missing = [plan for plan in plans if plan.name not in found]
    if not missing:
        return result
    futures = admin.create_topics([_new_topic(plan, settings) for plan in missing], operation_timeout=timeout_s)
    for plan in missing:
        try:
            futures[plan.name].result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(f"cannot create {plan.name}: {error.args[0].str()}") from error
            result.existing.append(plan.name)  # somebody else made it meanwhile
        else:
            result.created.append(plan.name)
    _wait_until_known(admin, missing, timeout_s)
    return result


def _new_topic(plan: TopicPlan, settings: Settings) -> NewTopic:
    config = plan.config()
    if settings.replication_factor > 1:
        # The broker's default is 1: then a write is acknowledged with one copy, and gone with that copy's broker.
        config["min.insync.replicas"] = str(settings.resolved_min_insync_replicas)
    if plan.name == settings.topics.dead_letters:
        # A dead letter is the largest record that the other topics take, and headers on top.
        config["max.message.bytes"] = str(MAX_MESSAGE_BYTES)
    return NewTopic(plan.name, plan.partitions, settings.replication_factor, config=config)


def _check(plan: TopicPlan, found: int | None) -> TopicCheck:
    problem = None
    if found is None:
        problem = f"topic {plan.name} is missing: run `driftloop topics create`"
    elif found != plan.partitions:
        problem = (
            f"topic {plan.name} has {found} partitions, the settings ask for {plan.partitions}: set "
            "DRIFTLOOP_SOURCE_PARTITIONS or DRIFTLOOP_MODEL_PARTITIONS to what is there, or use another "
            "DRIFTLOOP_TOPIC_PREFIX"
        )
    return TopicCheck(plan.name, plan.partitions, found, problem)


def _partition_counts(admin: AdminClient, timeout_s: float) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise BrokerError(
            f"cannot list topics: {error.args[0].str()}; start the broker, or set DRIFTLOOP_BOOTSTRAP to its host:port"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None and topic.partitions}


def _wait_until_known(admin: AdminClient, plans: list[TopicPlan], timeout_s: float) -> None:
    """Kafka answers before every broker knows the topic."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = _partition_counts(admin, timeout_s)
        missing = [plan.name for plan in plans if plan.name not in found]
        if not missing:
            break
        if time.monotonic() > deadline:
            raise BrokerError(f"topics {', '.join(missing)} were created but are not there after {timeout_s:g} s")
        time.sleep(0.1)
    wrong = [check.problem for plan in plans if (check := _check(plan, found[plan.name])).problem]
    if wrong:
        raise BrokerError("; ".join(str(problem) for problem in wrong))

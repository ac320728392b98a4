"""Ids that tell one log from another with the same name."""

from __future__ import annotations

import pytest

from conftest import Broker, SettingsFor
from driftloop.kafka.admin import BrokerError, create_topics, log_ids
from driftloop.kafka.config import client_config


def test_topics_of_another_prefix_have_other_ids(any_broker: Broker, settings_for: SettingsFor) -> None:
    settings = settings_for(any_broker)
    other = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}x"})
    for each in (settings, other):
        create_topics(each)
    config = client_config(settings)
    names = (settings.topics.predictions, settings.topics.labels)
    first = log_ids(config, names)
    assert log_ids(config, names) == first
    assert len(set(first)) == 3
    second = log_ids(config, (other.topics.predictions, other.topics.labels))
    assert second[0] == first[0]
    assert not set(second[1:]) & set(first[1:])
    with pytest.raises(BrokerError, match="does not describe"):
        log_ids(config, ["no.such.topic"], timeout_s=5)

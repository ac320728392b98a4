"""How safely topics are created."""

from __future__ import annotations

import pytest

from driftloop.kafka.admin import _new_topic
from driftloop.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("replicas", "given", "in_sync"), [(1, None, None), (2, None, "1"), (3, None, "2"), (3, 3, "3"), (5, 3, "3")]
)
def test_a_write_waits_for_all_copies_but_one(replicas: int, given: int | None, in_sync: str | None) -> None:
    settings = Settings(replication_factor=replicas, min_insync_replicas=given)
    for plan in settings.topics.plans():
        topic = _new_topic(plan, settings)
        assert topic.replication_factor == replicas
        # On one broker nothing is asked for: embedded brokers do not know the setting.
        assert topic.config.get("min.insync.replicas") == in_sync


def test_more_copies_to_wait_for_than_there_are_is_refused() -> None:
    with pytest.raises(SettingsError, match="DRIFTLOOP_MIN_INSYNC_REPLICAS is 3, more than the 2 copies"):
        Settings(replication_factor=2, min_insync_replicas=3)

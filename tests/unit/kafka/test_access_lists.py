"""What each component and each person may do at the broker, as the code and docs/security.md have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftloop.kafka.acl import COMPONENTS, Right, rights_of
from driftloop.settings import Settings

DOCS = Path(__file__).resolve().parents[3] / "docs" / "security.md"


def settings() -> Settings:
    return Settings(_env_file=None, topic_prefix="t")  # type: ignore[call-arg]


def test_an_operator_publishes_decisions_and_sees_that_topics_are_there() -> None:
    rights = rights_of("operator", settings())
    topics = settings().topics
    written = {right.name for right in rights if right.operation == "write"}
    assert written == {
        topics.window_reports,
        topics.alerts,
        topics.policy_decisions,
        topics.retrain_commands,
        topics.model_events,
    }
    assert Right("topic", "t.", "describe", prefixed=True) in rights
    # No data of predictions, and no group that could take partitions from a worker.
    assert {right.operation for right in rights} == {"write", "describe"}
    assert all(right.resource == "topic" for right in rights)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_docs_have_every_component(component: str) -> None:
    assert f"\n| {component} " in DOCS.read_text()
    assert rights_of(component, settings())
